package interop

import (
	"fmt"
	"testing"

	"usher/internal/dovecot"
)

// Who has mail in every store of these tests. Which store it is, and whose, is
// in the subject.
const (
	ann, annSecret = "ann@example.org", "ann's secret"
	bob, bobSecret = "bob@example.org", "bob's secret"
)

var protocols = []string{"imap", "pop3"}

// newStore starts a Dovecot with mailboxes for ann and bob.
func newStore(t testing.TB, name string, o dovecot.Options) *dovecot.Server {
	t.Helper()
	o.Name = name
	if o.Users == nil {
		o.Users = map[string]string{ann: annSecret, bob: bobSecret}
	}
	s := dovecot.Start(t, o)
	for user := range o.Users {
		s.Deliver(user, fmt.Sprintf("Subject: %s\r\n\r\nhello\r\n", subject(user, name)))
	}
	return s
}

func subject(user, store string) string { return user + " on " + store }

// twoStores are east and west; an account's host is one of these names.
func twoStores(t testing.TB) (east, west *dovecot.Server, config string) {
	t.Helper()
	east, west = newStore(t, "east", dovecot.Options{}), newStore(t, "west", dovecot.Options{})
	return east, west, store("east", east, "none") + store("west", west, "none")
}

// quick makes refusals come soon, and the tests no guessers.
const quick = "[limit]\nfailure_delay = \"50ms\"\nexempt = [\"127.0.0.1\"]\n\n"

// finds fails the test unless the client is in the mailbox of user on a store.
func (c *client) finds(user, store string) {
	c.t.Helper()
	if got, want := c.subject(), subject(user, store); got != want {
		c.t.Errorf("the first message is %q, want %q", got, want)
	}
}

// visit logs in on a connection of its own and looks where it comes out.
func (p *proxy) visit(t testing.TB, protocol, user, password, store string) {
	t.Helper()
	c := p.client(t, protocol, "implicit")
	c.enter(user, password)
	c.finds(user, store)
	_ = c.Close()
}
