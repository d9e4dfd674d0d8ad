//go:build linux

package contender

import (
	"fmt"
	"os/exec"
	"strings"

	"usher/bench/internal/load"
)

const usherConf = `
[server]
state = "state"
admin = "admin.sock"
user  = ""
log   = "logfmt"
relay_process = %t

[tls]
cert = %q
key  = %q

[[listen]]
protocol = "imap"
addr     = [%q]

[[listen]]
protocol = "imap"
addr     = [%q]
tls      = "implicit"

[[listen]]
protocol = "pop3"
addr     = [%q]

[backend.store]
imap = [%q]
pop3 = [%q]
`

// Usher is the program at path with everything that it does by default: accounts
// in its database, limits, a line in the log for each session. As with the
// others, the store checks the passwords.
func Usher(path string) Kind { return usher(path, "usher", false) }

// UsherApart is usher with its sessions in a relay process.
func UsherApart(path string) Kind { return usher(path, "usher-apart", true) }

func usher(path, name string, apart bool) Kind {
	return Kind{
		Name:    name,
		Version: func() (string, error) { return version(path, "nothing; run make bench", 1, "version") },
		Start:   func(s *Site) (*Contender, error) { return startUsher(path, s, apart) },
	}
}

func startUsher(path string, s *Site, apart bool) (*Contender, error) {
	d, err := doors()
	if err != nil {
		return nil, err
	}
	conf, err := s.write("usher.toml", fmt.Sprintf(usherConf, apart, s.Cert, s.Key, d.IMAP.Addr, d.IMAPS.Addr, d.POP3.Addr, s.IMAP, s.POP3))
	if err != nil {
		return nil, err
	}
	accounts, err := s.write("accounts.csv", accounts())
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(path, "account", "import", accounts, "-c", conf).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("import the accounts: %w\n%s", err, out)
	}
	c := &Contender{Doors: d}
	if apart {
		c.stop = exec.Command(path, "stop", "-c", conf)
	}
	if err := c.run(s, exec.Command(path, "serve", "-c", conf)); err != nil {
		return nil, err
	}
	return c, c.ready(s)
}

func accounts() string {
	var b strings.Builder
	b.WriteString("user,nopassword,host\n")
	for i := range load.Accounts {
		fmt.Fprintf(&b, "%s,Y,store\n", load.User(i))
	}
	return b.String()
}
