package imap

import (
	"fmt"
	"strings"

	"usher/internal/login"
)

// admitted takes the greeting of a program or of another node, which believes us who
// the client is: PREAUTH (RFC 9051 §7.1.4), or the answer to a LOGIN that nobody has
// sent, as Courier's imapd gives it to the tag that it was told. Words before it, such
// as Courier's alerts, are for the client.
func (e *entry) admitted() (login.Welcome, error) {
	r, err := e.preauth()
	if err != nil {
		return login.Welcome{}, fmt.Errorf("waiting for the greeting: %w", err)
	}
	if r.status != "OK" && r.status != "PREAUTH" {
		return login.Welcome{}, login.Refused("the program", r.code, r.text)
	}
	if e.caps == "" {
		err = e.capability() // Courier tells none by itself
	}
	if err != nil {
		return login.Welcome{}, err
	}
	return login.Welcome{Text: r.text, Capabilities: e.caps, Untagged: e.untagged}, nil
}

// preauth reads on to the response that lets the client in, or does not.
func (e *entry) preauth() (response, error) {
	for range maxUntagged {
		line, err := e.conn.ReadLine()
		if err != nil {
			return response{}, e.afterWords(err)
		}
		tag, rest, _ := strings.Cut(line, " ")
		r := parseResponse(rest)
		switch {
		case tag == tagLogin, tag == "*" && (r.status == "PREAUTH" || r.status == "BYE" || r.status == "NO"):
			e.note(r)
			return r, nil
		case tag != "*" || r.status != "OK":
			return response{}, fmt.Errorf("unexpected line %.80q", line)
		case r.code != "ALERT":
			return response{}, stranger(line)
		}
		e.hear(line)
	}
	return response{}, fmt.Errorf("more than %d lines", maxUntagged)
}

// stranger is the error of a server that wants to be logged in to.
func stranger(line string) error {
	return login.Misconfiguration("it does not know that somebody has logged in (%.80q): it is no program that is started for a user, "+
		"or speaks in [local] says the wrong thing", line)
}

// afterWords adds to an error what was said before it.
func (e *entry) afterWords(err error) error {
	if len(e.untagged) == 0 {
		return err
	}
	return fmt.Errorf("after %.80q: %w", e.untagged[len(e.untagged)-1], err)
}
