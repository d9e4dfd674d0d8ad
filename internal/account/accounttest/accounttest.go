// Package accounttest is the conformance suite of every account.Directory.
package accounttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"usher/internal/account"
)

// A World says what the directory under test holds.
type World struct {
	User     string // somebody it knows, in ASCII
	Password string // and the right password; "" if only the backend can tell
	Unknown  string // somebody it does not know; "" if it knows everybody
}

// Run asks d everything that its callers rely on.
func Run(t *testing.T, d account.Directory, w World) {
	t.Helper()
	t.Run("known", func(t *testing.T) { known(t, d, w) })
	t.Run("password", func(t *testing.T) { password(t, d, w) })
	t.Run("unknown", func(t *testing.T) { unknown(t, d, w) })
	t.Run("hostile", func(t *testing.T) { hostile(t, d, w) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, d, w) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, d, w) })
}

func lookup(t *testing.T, d account.Directory, name string) (*account.Account, error) {
	t.Helper()
	a, err := d.Lookup(t.Context(), account.Query{Name: name, Protocol: "imap"})
	if (a == nil) == (err == nil) {
		t.Fatalf("Lookup(%.80q) = %v, %v: either an account or an error", name, a, err)
	}
	return a, err
}

func known(t *testing.T, d account.Directory, w World) {
	a, err := lookup(t, d, w.User)
	if err != nil {
		t.Fatalf("Lookup(%q): %v", w.User, err)
	}
	if a.Name == "" {
		t.Errorf("the account of %q has no name", w.User)
	}
}

func password(t *testing.T, d account.Directory, w World) {
	a, err := lookup(t, d, w.User)
	if err != nil {
		t.Fatal(err)
	}
	if w.Password == "" {
		if a.Proof != nil {
			t.Errorf("%q has a Proof, but only the backend can tell", w.User)
		}
		return
	}
	if err := a.Proof.Check(t.Context(), w.Password); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for _, wrong := range []string{"", w.Password + "x", strings.ToUpper(w.Password) + " ", "*", "' OR 1=1 --"} {
		if err := a.Proof.Check(t.Context(), wrong); !errors.Is(err, account.ErrRefused) {
			t.Errorf("the wrong password %q: %v, want ErrRefused", wrong, err)
		}
	}
}

func unknown(t *testing.T, d account.Directory, w World) {
	if w.Unknown == "" {
		t.Skip("this directory knows everybody")
	}
	if a, err := lookup(t, d, w.Unknown); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("Lookup(%q) = %v, %v; want ErrUnknown", w.Unknown, a, err)
	}
}

// hostile asks for names that mean something to a query language, or look like
// somebody. They may be unknown or an error, but never another's account.
func hostile(t *testing.T, d account.Directory, w World) {
	if w.Unknown == "" {
		t.Skip("this directory knows everybody")
	}
	for _, name := range hostileNames(w.User) {
		if a, err := lookup(t, d, name); err == nil {
			t.Errorf("Lookup(%.80q) gives the account of %q", name, a.Name)
		}
	}
}

func hostileNames(user string) []string {
	first, rest := user[:1], user[1:]
	return []string{
		"", " ", "*", "%", "_", "?", "\\", "'", `"`, "`", ";", "--", "/*", "#", "|", "&", "!", "=", "~", "$1", "{user}", "%u", "${HOME}", "../../etc/passwd",
		")(", "*)(uid=*", "*)(objectClass=*))(|(uid=*", `\2a`, `\00`, first + "*", first + "%", strings.Repeat("_", len(user)), "[" + first + "]" + rest,
		"' OR 1=1 --", "' OR '1'='1", user + "' --", user + "'; DROP TABLE accounts; --", `" OR ""="`, "x' UNION SELECT * FROM accounts --",
		user + "\x00", user + "\x00x", "\x00" + user, user + "\r\n", user + "\n", user + "\t", " " + user, user + " ", user + "\u00a0", user + "\u200b",
		user + "\xff", "\xc3\x28", "\xed\xa0\x80", user + "\u0301", "\u0430" + rest, strings.Repeat("a", 10<<10), strings.Repeat(user, 1000), strings.Repeat("(", 10<<10),
		user + ",", user + ":", user + "/", "dn:" + user, user + "*master", user + "%0a", "\\" + user, user + "@",
	}
}

func concurrent(t *testing.T, d account.Directory, w World) {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				if _, err := d.Lookup(t.Context(), account.Query{Name: w.User}); err != nil {
					t.Errorf("Lookup(%q) among others: %v", w.User, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// cancelled: a question that was not asked has no answer.
func cancelled(t *testing.T, d account.Directory, w World) {
	if w.Unknown == "" {
		t.Skip("this directory knows everybody without asking")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{w.User, w.Unknown} {
		if _, err := d.Lookup(ctx, account.Query{Name: name}); err == nil || errors.Is(err, account.ErrUnknown) {
			t.Errorf("Lookup(%q) after the context was cancelled: %v; want an error that is not ErrUnknown", name, err)
		}
	}
}
