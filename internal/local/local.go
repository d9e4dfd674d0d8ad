// Package local decides how a mail program of this machine is told whom it serves:
// by which arguments and which environment. Three dialects are known: Dovecot's,
// Courier's, and what any other program that greets with PREAUTH may want to know.
//
// Read Request first; dovecot.go, courier.go and preauth.go are the dialects.
package local

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"usher/internal/route"
	"usher/internal/spawn"
)

// A Command is one program of [local] for one protocol.
type Command struct {
	Protocol string
	Words    []string // as in the configuration: the program's path, and its arguments
	Speaks   route.Dialect
	Env      []string // "NAME=value", from the configuration
	Maildir  string   // in a home, for accounts whose source names no mailbox; "": the program's own default
}

// Speaks guesses the dialect of a program by the name and the place of its file.
func Speaks(path string) route.Dialect {
	switch name := filepath.Base(path); {
	case strings.Contains(path, "/dovecot/"), strings.Contains(name, "dovecot"):
		return route.Dovecot
	case strings.Contains(path, "/courier"), name == "imapd", name == "courierpop3d", name == "pop3d":
		return route.Courier
	}
	return route.Preauth
}

// Program is what of the command never changes, for the helper's list: the words
// before the first that depends on whom it serves, and how the others begin. It is called by its whole name:
// Dovecot's programs start themselves again by it.
func (c Command) Program() spawn.Program {
	fixed, varying := c.Words[1:], []string(nil)
	if i := slices.IndexFunc(fixed, varies); i >= 0 {
		fixed, varying = fixed[:i], fixed[i:]
	}
	p := spawn.Program{
		Path: c.Words[0], Args: append([]string{c.Words[0]}, literal(fixed)...),
		Env: slices.Clone(c.Env), Vars: c.vars(), More: len(varying),
	}
	for _, w := range varying {
		p.Begins = append(p.Begins, beginning(w))
	}
	switch c.Speaks {
	case route.Dovecot:
		p.Env = append(p.Env, c.preserved())
	case route.Courier:
		p.More++ // its maildir
	}
	return p
}

// vars are the variables by which a program is told.
func (c Command) vars() []string {
	switch c.Speaks {
	case route.Dovecot:
		return []string{"USER", "HOME", "IP", "LOCAL_IP", "MAIL"}
	case route.Courier:
		return []string{
			"USER", "HOME", "AUTHENTICATED", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT",
			"MAILDIRQUOTA", "OPTIONS", "PROTOCOL", "IMAPLOGINTAG", "IMAP_TLS", "POP3_TLS", "UTF8",
		}
	}
	return []string{
		"USER", "LOGNAME", "HOME", "MAIL", "IP", "LOCAL_IP", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT",
		"PROTOCOL", "SESSION_ID", "SESSION_TLS",
	}
}

// Check tells whether the words of a command can be told to a program: behind one that
// depends on the user the helper takes no options, which it could not tell from others.
func (c Command) Check() error {
	i := slices.IndexFunc(c.Words[1:], varies)
	for n, w := range c.Words[1:] {
		if i >= 0 && n >= i && (strings.HasPrefix(w, "-") || strings.HasPrefix(w, "{")) {
			return fmt.Errorf("argument %q: from the first on that has a variable, none may begin with a dash or a variable", w)
		}
	}
	return nil
}

// Request asks for one start of the command, which the helper knows as x.Program.
func (c Command) Request(x *route.Exec) (spawn.Request, error) {
	r := spawn.Request{Program: x.Program, UID: x.UID, GID: x.GID, User: system(x.User), Home: x.Home, ID: x.Client.ID}
	r.Args = c.varying(x)
	switch c.Speaks {
	case route.Dovecot:
		c.dovecot(x, &r)
	case route.Courier:
		c.courier(x, &r)
	default:
		c.preauth(x, &r)
	}
	if climbs(x.User) {
		return r, fmt.Errorf("the name %.80q has a part . or .., which would lead out of its folder where a mailbox is called as its user", x.User)
	}
	for _, s := range slices.Concat(r.Args, r.Env) {
		if strings.ContainsRune(s, 0) {
			return r, fmt.Errorf("the account %q has a NUL in a field, which no program can be told", x.User)
		}
	}
	return r, nil
}

// climbs tells whether a name, or one of its parts, is no folder of its own: programs
// make file names of it, and the words of a command may.
func climbs(user string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(user, func(r rune) bool { return r == '/' || r == '@' }),
		func(part string) bool { return part == "." || part == ".." })
}

// system is what an account may be called in /etc/passwd. Whether it is that user's
// the helper sees by the uid.
func system(user string) string {
	name, _, _ := strings.Cut(user, "@")
	return name
}

// tell adds to the environment of a request, where there is something to tell.
func tell(r *spawn.Request, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			r.Env = append(r.Env, pairs[i]+"="+pairs[i+1])
		}
	}
}

// ip is an address as programs read it. Who comes over no network comes from here.
func ip(a netip.AddrPort) string {
	if !a.IsValid() {
		return "127.0.0.1"
	}
	return a.Addr().Unmap().WithZone("").String()
}

func port(a netip.AddrPort) string { return fmt.Sprint(a.Port()) }

// yes is how a program is told whether something is so.
func yes(is bool) string {
	if is {
		return "1"
	}
	return "0"
}
