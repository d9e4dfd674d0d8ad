package authdaemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"usher/internal/account"
)

// mostReply is how long a reply may be, in bytes. Courier's own programs read 8 KB.
const mostReply = 64 << 10

// names are the lines of a reply, and what they are to usher. NAME is what people call
// the person, and USERNAME whom the system calls so: neither is the account's name.
var names = map[string]string{
	"ADDRESS":  "user",
	"OPTIONS":  "options",
	"PASSWD":   "password",
	"UID":      "uid",
	"GID":      "gid",
	"HOME":     "home",
	"MAILDIR":  "mail",
	"QUOTA":    "quota",
	"USERNAME": "system_user",
	"NAME":     "full_name",
}

// plain marks a clear password.
const plain = "{PLAIN}"

// read reads a reply: lines NAME=value up to one dot, or FAIL. PASSWD2 is the password
// in clear, and better than a hash of it.
func read(r io.Reader, no error) (account.Fields, error) {
	limited := &io.LimitedReader{R: r, N: mostReply}
	lines := bufio.NewReader(limited)
	f, clear := account.Fields{}, ""
	for {
		line, err := lines.ReadString('\n')
		switch {
		case limited.N == 0 && err != nil:
			return nil, fmt.Errorf("the reply of authdaemond is longer than %d KB", mostReply>>10)
		case err != nil:
			return nil, silence{err}
		}
		switch line = line[:len(line)-1]; line {
		case ".":
			if clear != "" {
				f["password"] = plain + clear
			}
			return f, nil
		case "FAIL":
			return nil, no
		}
		name, value, _ := strings.Cut(line, "=")
		if name == "PASSWD2" {
			clear = value
		} else if field, ok := names[name]; ok {
			f[field] = value
		}
	}
}

// silence is a connection that ended before the reply did.
type silence struct{ error }

func (s silence) Unwrap() error { return s.error }

func (s silence) Error() string {
	return fmt.Sprintf("authdaemond closed the connection without a reply (%v), as it does when a module of it cannot tell: look at its log; with send_remote = true it must be version 0.71 or later", s.error)
}

func isSilence(err error) bool {
	_, ok := errors.AsType[silence](err)
	return ok
}
