// Package accounttest is the conformance suite of every account.Directory.
package accounttest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/account"
)

// A World says what the directory under test holds.
type World struct {
	User     string // somebody it knows, in ASCII
	Password string // and the right password; "" if only the backend can tell
	Unknown  string // somebody it does not know; "" if it knows everybody

	// Shown: the source says who somebody is only together with the password, and
	// cannot tell an unknown name from a wrong password.
	Shown bool
	// Freeze makes what the source asks silent, without closing its connections
	// (SIGSTOP), and returns what wakes it up; nil: that cannot be.
	Freeze func(t *testing.T) (thaw func())
	// Stop ends what the source asks, and returns what starts it again at the same
	// place; nil: that cannot be.
	Stop func(t *testing.T) (start func())
}

// RunSource asks a source, as a Reader shows it, everything that its callers rely on.
func RunSource(t *testing.T, s account.Source, w World) {
	t.Helper()
	Run(t, &account.Reader{Name: "test", Source: s}, w)
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
	t.Run("frozen", func(t *testing.T) { trouble(t, d, w, w.Freeze) })
	t.Run("stopped", func(t *testing.T) { trouble(t, d, w, w.Stop) })
}

// query is what is asked about a name, with the password that is shown for it.
func (w World) query(name, password string) account.Query {
	q := account.Query{Name: name, Protocol: "imap", Remote: netip.MustParseAddrPort("192.0.2.7:5000"), Local: netip.MustParseAddrPort("192.0.2.1:143")}
	if w.Shown {
		q.Password = password
	}
	return q
}

func lookup(t *testing.T, d account.Directory, w World, name string) (*account.Account, error) {
	t.Helper()
	return ask(t, d, w.query(name, w.Password))
}

func ask(t *testing.T, d account.Directory, q account.Query) (*account.Account, error) {
	t.Helper()
	a, err := d.Lookup(t.Context(), q)
	if (a == nil) == (err == nil) {
		t.Fatalf("Lookup(%.80q) = %v, %v: either an account or an error", q.Name, a, err)
	}
	return a, err
}

func known(t *testing.T, d account.Directory, w World) {
	a, err := lookup(t, d, w, w.User)
	if err != nil {
		t.Fatalf("Lookup(%q): %v", w.User, err)
	}
	if a.Name == "" {
		t.Errorf("the account of %q has no name", w.User)
	}
}

func password(t *testing.T, d account.Directory, w World) {
	a, err := lookup(t, d, w, w.User)
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
	for _, wrong := range []string{"", w.Password + "x", strings.ToUpper(w.Password) + " ", "*", "' OR 1=1 --", strings.Repeat("x", 4<<10)} {
		if err := a.Proof.Check(t.Context(), wrong); !errors.Is(err, account.ErrRefused) {
			t.Errorf("the wrong password %.80q: %v, want ErrRefused", wrong, err)
		}
		if !w.Shown {
			continue
		}
		if _, err := ask(t, d, w.query(w.User, wrong)); !errors.Is(err, account.ErrRefused) {
			t.Errorf("Lookup with the wrong password %.80q: %v, want ErrRefused", wrong, err)
		}
	}
}

func unknown(t *testing.T, d account.Directory, w World) {
	if w.Unknown == "" {
		t.Skip("this directory knows everybody")
	}
	a, err := lookup(t, d, w, w.Unknown)
	if w.Shown && errors.Is(err, account.ErrRefused) {
		return // it does not tell the two apart
	}
	if !errors.Is(err, account.ErrUnknown) {
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
		if a, err := lookup(t, d, w, name); err == nil {
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
				if _, err := d.Lookup(t.Context(), w.query(w.User, w.Password)); err != nil {
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
		if _, err := d.Lookup(ctx, w.query(name, w.Password)); err == nil || errors.Is(err, account.ErrUnknown) {
			t.Errorf("Lookup(%q) after the context was cancelled: %v; want an error that is not ErrUnknown", name, err)
		}
	}
}

const (
	enough = 500 * time.Millisecond // for a question that gets no answer
	back   = 5 * time.Second        // until all is well again
)

// trouble: what cannot be asked has not said no, nobody waits longer than allowed, and
// all is well soon after the trouble has passed.
func trouble(t *testing.T, d account.Directory, w World, begin func(*testing.T) func()) {
	if begin == nil {
		t.Skip("that cannot happen to it")
	}
	end := begin(t)
	for _, name := range []string{w.User, w.Unknown} {
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		began := time.Now()
		a, err := d.Lookup(ctx, w.query(name, w.Password))
		if err == nil && a.Proof != nil {
			err = a.Proof.Check(ctx, w.Password)
		}
		cancel()
		if err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) {
			t.Errorf("%q, of a source that cannot be asked: %v, %v; want another error", name, a, err)
		}
		if took := time.Since(began); took > enough+2*time.Second {
			t.Errorf("%q, of a source that cannot be asked: an answer after %v, but there was %v", name, took, enough)
		}
	}
	end()
	wellAgain(t, d, w)
}

func wellAgain(t *testing.T, d account.Directory, w World) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		a, err := d.Lookup(t.Context(), w.query(w.User, w.Password))
		if err == nil && a.Proof != nil {
			err = a.Proof.Check(t.Context(), w.Password)
		}
		if err == nil {
			return
		}
		if time.Since(began) > back {
			t.Fatalf("%v after it is back: %v", back, err)
		}
	}
}
