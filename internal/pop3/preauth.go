package pop3

import (
	"cmp"
	"fmt"
	"strings"

	"usher/internal/login"
)

// admitted takes the greeting of a program or of another node, which believes us who
// the client is. One that greets nobody, but waits for commands, is asked whether it is
// there. UTF8 is not passed on: by now it is too late for it (RFC 6856 §2), and who can
// be told is told otherwise.
func (e *entry) admitted() (login.Welcome, error) {
	r, err := e.preauth()
	if err != nil {
		return login.Welcome{}, fmt.Errorf("waiting for the greeting: %w", err)
	}
	if !r.ok {
		code, text := cutCode(r.text)
		return login.Welcome{}, login.Refused("the program", strings.ToUpper(code), text)
	}
	return login.Welcome{Text: cmp.Or(r.text, "Logged in.")}, nil
}

func (e *entry) preauth() (reply, error) {
	if e.ticket.Silent {
		return e.ask("NOOP")
	}
	return e.read()
}
