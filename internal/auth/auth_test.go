package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// A table is a Directory of a few accounts. It keeps the names that it is asked.
type table struct {
	mu       sync.Mutex
	accounts map[string]*account.Account
	asked    []string
	err      error
}

func (d *table) Lookup(_ context.Context, q account.Query) (*account.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, q.Name)
	if d.err != nil {
		return nil, d.err
	}
	if a, ok := d.accounts[q.Name]; ok {
		return a, nil
	}
	return nil, account.ErrUnknown
}

// A proof counts how often it is asked, and can be slow.
type proof struct {
	password string
	err      error
	checks   *atomic.Int32
}

func (p proof) Identity() string { return p.password }

func (p proof) Check(_ context.Context, clear string) error {
	p.checks.Add(1)
	switch {
	case p.err != nil:
		return p.err
	case clear != p.password:
		return account.ErrRefused
	}
	return nil
}

func accounts(names ...string) *table {
	d := &table{accounts: map[string]*account.Account{}}
	for _, n := range names {
		d.accounts[n] = &account.Account{Name: n, Proof: account.Hashed{Hashes: []string{"{PLAIN}secret"}}}
	}
	return d
}

func ask(t testing.TB, d account.Directory, domain, authz, authn, pw string) (sasl.Identity, error) {
	t.Helper()
	return New(d, "{PLAIN}decoy", 2).Verifier(account.Query{Protocol: "imap"}, domain).Password(t.Context(), authz, authn, pw)
}

func TestTheRightPasswordProvesAnAccount(t *testing.T) {
	id, err := ask(t, accounts("ann"), "", "", "ann", "secret")
	if err != nil || !id.Proven || id.Account.Name != "ann" || id.Password != "secret" {
		t.Errorf("%+v, %v", id, err)
	}
	id, err = ask(t, accounts("ann"), "", "", "ann", "wrong")
	if !errors.Is(err, account.ErrRefused) || id.Account != nil || id.Proven {
		t.Errorf("a wrong one: %+v, %v", id, err)
	}
}

func TestWithoutAPasswordToCheckNothingIsProven(t *testing.T) {
	d := &table{accounts: map[string]*account.Account{"ann": {Name: "ann"}}}
	id, err := ask(t, d, "", "", "ann", "whatever")
	if err != nil || id.Proven || id.Password != "whatever" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestCannotTellStaysCannotTell(t *testing.T) {
	down := errors.New("connection refused")
	d := accounts("ann")
	d.err = down
	if _, err := ask(t, d, "", "", "ann", "secret"); !errors.Is(err, down) || errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrUnknown) {
		t.Errorf("a directory that is down: %v", err)
	}
	d = accounts()
	d.accounts["ann"] = &account.Account{Name: "ann", Proof: proof{err: down, checks: new(atomic.Int32)}}
	if _, err := ask(t, d, "", "", "ann", "secret"); !errors.Is(err, down) || errors.Is(err, account.ErrRefused) {
		t.Errorf("a proof that is down: %v", err)
	}
	d.accounts["ann"] = &account.Account{Name: "ann", Proof: account.Hashed{Hashes: []string{"{MD5}x"}}}
	if _, err := ask(t, d, "", "", "ann", "secret"); err == nil || errors.Is(err, account.ErrRefused) {
		t.Errorf("a hash that cannot be read: %v", err)
	}
}

func TestErrorsKnowTheNameThatWasTried(t *testing.T) {
	_, err := ask(t, accounts("ann"), "example.org", "", "bob", "x")
	var named interface{ Login() string }
	if !errors.As(err, &named) || named.Login() != "bob@example.org" || !errors.Is(err, account.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

func TestNamesThatNobodyCanHaveAreNotLookedUp(t *testing.T) {
	for _, c := range []struct{ name, password string }{
		{"", "secret"},
		{"ann", ""},
		{"ann\n", "secret"},
		{"a\rnn", "secret"},
		{"a\x00nn", "secret"},
		{"\xff", "secret"},
		{strings.Repeat("x", 513), "secret"},
		{"ann", "sec\nret"},
		{"ann", "secret\x00"},
		{"ann", "\xff"},
		{"ann", strings.Repeat("x", 1<<20)},
	} {
		d := accounts("ann")
		if _, err := ask(t, d, "", "", c.name, c.password); !errors.Is(err, account.ErrRefused) || len(d.asked) > 0 {
			t.Errorf("%.20q with %.20q: %v, looked up %q", c.name, c.password, err, d.asked)
		}
	}
	long := strings.Repeat("x", 512)
	if _, err := ask(t, accounts(long), "", "", long, "secret"); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}

func TestTheDefaultDomainCompletesNames(t *testing.T) {
	for _, c := range []struct{ domain, name, want string }{
		{"", "ann", "ann"},
		{"example.org", "ann", "ann@example.org"},
		{"example.org", "ann@example.com", "ann@example.com"},
		{"example.org", "ann@", "ann@"},
	} {
		d := accounts()
		_, _ = ask(t, d, c.domain, "", c.name, "secret")
		if len(d.asked) != 1 || d.asked[0] != c.want {
			t.Errorf("%q with domain %q: looked up %q, want %q", c.name, c.domain, d.asked, c.want)
		}
	}
	d := accounts()
	if _, err := ask(t, d, "example.org", "", "", "secret"); !errors.Is(err, account.ErrRefused) || len(d.asked) > 0 {
		t.Errorf("no name is somebody at the domain: %v, looked up %q", err, d.asked)
	}
}

func TestNobodyActsForAnother(t *testing.T) {
	for _, c := range []struct {
		authz string
		want  error
	}{
		{"", nil},
		{"ann@example.org", nil},
		{"ann", nil}, // with the default domain
		{"bob@example.org", account.ErrRefused},
		{"bob", account.ErrRefused},
		{"Ann@example.org", account.ErrRefused},
	} {
		id, err := ask(t, accounts("ann@example.org", "bob@example.org"), "example.org", c.authz, "ann", "secret")
		if !errors.Is(err, c.want) || err != nil && id.Account != nil {
			t.Errorf("ann for %q: %+v, %v; want %v", c.authz, id, err, c.want)
		}
	}
	// With a wrong password too it is a wrong password that is told.
	_, err := ask(t, accounts("ann@example.org"), "example.org", "bob", "ann", "wrong")
	if err == nil || strings.Contains(err.Error(), "bob") {
		t.Errorf("a wrong password for another: %v", err)
	}
}

// A decoy of the scheme that the accounts have takes the same time. Equal hashes
// are equal work, so it is enough to see which one is tried.
func TestAnUnknownNameCostsWhatAKnownOneCosts(t *testing.T) {
	d := accounts("ann")
	a := New(d, "{PLAIN}first decoy", 2)
	hash, err := password.Make("SHA512-CRYPT", "secret")
	if err != nil {
		t.Fatal(err)
	}
	d.accounts["ann"].Proof = account.Hashed{Hashes: []string{hash}}
	v := a.Verifier(account.Query{}, "")
	if _, err := v.Password(t.Context(), "", "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	if got := a.decoy.Load().Hashes[0]; got != hash {
		t.Errorf("after ann's login unknown names are checked against %q", got)
	}
	known := cost(t, v, "ann")
	unknown := cost(t, v, "nobody")
	impossible := cost(t, v, "no\nbody")
	if unknown < known/3 || impossible < known/3 {
		t.Errorf("a wrong password takes %v, an unknown name %v, an impossible one %v", known, unknown, impossible)
	}
}

// cost is the shortest of a few refusals.
func cost(t *testing.T, v sasl.Verifier, name string) time.Duration {
	t.Helper()
	best := time.Hour
	for range 5 {
		began := time.Now()
		if _, err := v.Password(t.Context(), "", name, "wrong"); err == nil {
			t.Errorf("%q is let in", name)
		}
		best = min(best, time.Since(began))
	}
	return best
}

func TestADecoyLetsNobodyIn(t *testing.T) {
	a := New(accounts("ann"), "{PLAIN}decoy", 2)
	v := a.Verifier(account.Query{}, "")
	_, _ = v.Password(t.Context(), "", "ann", "secret") // now ann's hash is the decoy
	for _, pw := range []string{"secret", "decoy"} {
		if id, err := v.Password(t.Context(), "", "nobody", pw); !errors.Is(err, account.ErrUnknown) || id.Account != nil {
			t.Errorf("nobody with %q: %+v, %v", pw, id, err)
		}
	}
}

// full takes all slots of hash checks.
func full(a *Auth) {
	for range cap(a.slots) {
		a.slots <- struct{}{}
	}
}

func TestNoMoreChecksRunThanMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(accounts("ann"), "{PLAIN}decoy", 2)
		full(a)
		var ended atomic.Int32
		for _, name := range []string{"ann", "nobody", ""} {
			go func() {
				_, _ = a.Verifier(account.Query{}, "").Password(t.Context(), "", name, "secret")
				ended.Add(1)
			}()
		}
		synctest.Wait()
		if ended.Load() != 0 {
			t.Error("a check did not wait for its turn")
		}
		for range cap(a.slots) {
			<-a.slots
		}
		synctest.Wait()
		if ended.Load() != 3 || len(a.slots) != 0 {
			t.Errorf("%d of 3 ended, %d slots are taken", ended.Load(), len(a.slots))
		}
	})
}

// Who comes while too many wait hears so at once, whether the name is known or not.
func TestTheQueueOfChecksHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(accounts("ann"), "{PLAIN}decoy", 2)
		full(a)
		v := a.Verifier(account.Query{}, "")
		for range cap(a.slots) * (1 + queue) {
			go func() { _, _ = v.Password(t.Context(), "", "ann", "secret") }()
		}
		synctest.Wait()
		for _, name := range []string{"ann", "nobody", "no\nbody"} {
			if _, err := v.Password(t.Context(), "", name, "secret"); !errors.Is(err, errBusy) {
				t.Errorf("%q hears %v", name, err)
			}
		}
		for range cap(a.slots) {
			<-a.slots
		}
		synctest.Wait()
		if n := a.waiting.Load(); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestWhoGivesUpWaitingIsNotCalledWrong(t *testing.T) {
	a := New(accounts("ann"), "{PLAIN}decoy", 2)
	full(a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Verifier(account.Query{}, "").Password(ctx, "", "ann", "secret")
	if !errors.Is(err, context.Canceled) || errors.Is(err, account.ErrRefused) {
		t.Errorf("%v", err)
	}
}

// Other proofs wait for a network: they take no processor from anybody.
func TestAProofElsewhereNeedsNoTurn(t *testing.T) {
	d := accounts()
	checks := new(atomic.Int32)
	d.accounts["ann"] = &account.Account{Name: "ann", Proof: proof{password: "secret", checks: checks}}
	a := New(d, "{PLAIN}decoy", 2)
	full(a)
	if id, err := a.Verifier(account.Query{}, "").Password(t.Context(), "", "ann", "secret"); err != nil || !id.Proven || checks.Load() != 1 {
		t.Errorf("%+v, %v, %d checks", id, err, checks.Load())
	}
}

func TestTheDirectoryIsToldOfTheClient(t *testing.T) {
	var got account.Query
	d := lookup(func(q account.Query) (*account.Account, error) {
		got = q
		return nil, account.ErrUnknown
	})
	want := account.Query{Protocol: "pop3", TLS: true, ServerName: "mail.example.org"}
	_, _ = New(d, "{PLAIN}x", 2).Verifier(want, "").Password(t.Context(), "", "ann", "x")
	if want.Name, want.Password = "ann", "x"; got != want {
		t.Errorf("asked %+v, want %+v", got, want)
	}
}

type lookup func(account.Query) (*account.Account, error)

func (l lookup) Lookup(_ context.Context, q account.Query) (*account.Account, error) { return l(q) }
