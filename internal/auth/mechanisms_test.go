package auth

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

const stamp = "<1896.697170952@dbc.mtview.ca.us>"

func cramMD5(name, clear string) account.Answer {
	h := hmac.New(md5.New, []byte(clear))
	h.Write([]byte(stamp))
	return account.Answer{Method: "cram-md5", Challenge: stamp, Response: name + " " + hex.EncodeToString(h.Sum(nil))}
}

func apop(clear string) account.Answer {
	sum := md5.Sum([]byte(stamp + clear))
	return account.Answer{Method: "apop", Challenge: stamp, Response: hex.EncodeToString(sum[:])}
}

// scram goes a client's way.
func scram(t testing.TB, v sasl.Verifier, authz, authn, hash, clear string) (sasl.Identity, error) {
	t.Helper()
	p, err := v.SCRAM(t.Context(), hash, authz, authn)
	if err != nil {
		return sasl.Identity{}, err
	}
	return prove(t, p, hash, clear)
}

func prove(t testing.TB, p sasl.Prover, hash, clear string) (sasl.Identity, error) {
	t.Helper()
	salt, iterations := p.Salt()
	proof, server, err := password.Prove(hash, clear, salt, iterations, "messages")
	if err != nil {
		t.Fatal(err)
	}
	id, own, err := p.Prove(t.Context(), "messages", proof)
	if (err == nil) != hmac.Equal(own, server) {
		t.Errorf("%v, but the server's own proof is %x", err, own)
	}
	return id, err
}

// tokens are those of a provider.
type tokens map[string][]string

func (k tokens) names(_ context.Context, token string) ([]string, time.Time, error) {
	if names, ok := k[token]; ok {
		return names, tomorrow, nil
	}
	return nil, time.Time{}, &sasl.TokenRefusal{Err: fmt.Errorf("%w: expired", account.ErrRefused)}
}

// tomorrow is until when those tokens hold.
var tomorrow = time.Now().Add(24 * time.Hour)

// with are accounts with these passwords as they are stored.
func with(stored map[string]string) *table {
	d := &table{accounts: map[string]*account.Account{}}
	for name, hash := range stored {
		d.accounts[name] = &account.Account{Name: name, Proof: account.Hashed{Hashes: []string{hash}}}
	}
	return d
}

const (
	cramStates = "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"
	scramKeys  = "{SCRAM-SHA-256}4096,3zIEl0KtHoB11WGXNDKrKw==,zG7J9wnkBEmcMon71Wv5bqLAis8FyDpTnKvAsH9K0Bg=,0eK8qj6vGg7/mYszcJqe4cqaWje2gvJIUvLJbGYq/ZQ="
	otherHash  = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
)

// ways are the mechanisms that do not show the password, and whose stored password is
// good for them. All are "secret".
var ways = []struct {
	name string
	try  func(t testing.TB, v sasl.Verifier, name, clear string) (sasl.Identity, error)
	good []string
}{
	{"CRAM-MD5", func(t testing.TB, v sasl.Verifier, name, clear string) (sasl.Identity, error) {
		return v.Answer(t.Context(), name, cramMD5(name, clear))
	}, []string{"{PLAIN}secret", cramStates}},
	{"APOP", func(t testing.TB, v sasl.Verifier, name, clear string) (sasl.Identity, error) {
		return v.Answer(t.Context(), name, apop(clear))
	}, []string{"{PLAIN}secret"}},
	{"SCRAM-SHA-1", func(t testing.TB, v sasl.Verifier, name, clear string) (sasl.Identity, error) {
		return scram(t, v, "", name, "SHA-1", clear)
	}, []string{"{PLAIN}secret"}},
	{"SCRAM-SHA-256", func(t testing.TB, v sasl.Verifier, name, clear string) (sasl.Identity, error) {
		return scram(t, v, name, name, "SHA-256", clear)
	}, []string{"{PLAIN}secret", scramKeys}},
}

func TestWhoKnowsThePasswordNeedNotShowIt(t *testing.T) {
	for _, w := range ways {
		for _, stored := range []string{"{PLAIN}secret", cramStates, scramKeys, otherHash} {
			can := slices.Contains(w.good, stored)
			v := New(with(map[string]string{"ann": stored}), "{PLAIN}decoy", 2).Verifier(account.Query{Protocol: "imap"}, "")
			id, err := w.try(t, v, "ann", "secret")
			switch {
			case can && (err != nil || !id.Proven || id.Account.Name != "ann"):
				t.Errorf("%s with %.20s: %+v, %v", w.name, stored, id, err)
			case can && (id.Password == "secret") != (stored == "{PLAIN}secret"):
				t.Errorf("%s with %.20s: for the backend there is the password %q", w.name, stored, id.Password)
			case !can && (!errors.Is(err, account.ErrRefused) || id.Account != nil || id.Proven):
				t.Errorf("%s with %.20s: %+v, %v; want a wrong password", w.name, stored, id, err)
			}
			for _, wrong := range []string{"Secret", "nobody's", "decoy"} {
				if id, err := w.try(t, v, "ann", wrong); !errors.Is(err, account.ErrRefused) || id.Account != nil {
					t.Errorf("%s with %.20s, wrong: %+v, %v", w.name, stored, id, err)
				}
			}
		}
	}
}

// A stranger learns neither whether a name is known nor whether it could use the
// mechanism.
func TestNamesThatCannotUseAMechanismAreRefusedAsWrong(t *testing.T) {
	d := with(map[string]string{"ann": "{PLAIN}secret", "hashed": otherHash})
	d.accounts["backend's"] = &account.Account{Name: "backend's"}
	for _, w := range ways {
		v := New(d, "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
		for _, name := range []string{"hashed", "backend's", "nobody", "", "no\nbody", "\xff"} {
			for _, clear := range []string{"secret", "nobody's", "decoy"} {
				id, err := w.try(t, v, name, clear)
				if !errors.Is(err, account.ErrRefused) && !errors.Is(err, account.ErrUnknown) || id.Account != nil || id.Proven || id.Password != "" {
					t.Errorf("%s, %q with %q: %+v, %v", w.name, name, clear, id, err)
				}
				var who interface{ Login() string }
				if !errors.As(err, &who) || who.Login() != name {
					t.Errorf("%s: the log lacks %q: %v", w.name, name, err)
				}
			}
		}
	}
}

func TestCannotTellIsNeverWrong(t *testing.T) {
	d := with(map[string]string{"ann": "{PLAIN}secret"})
	d.err = errors.New("the database is down")
	a := New(d, "{PLAIN}decoy", 2)
	a.Tokens = tokens{"x": {"ann"}}.names
	v := a.Verifier(account.Query{}, "")
	for _, w := range ways {
		if _, err := w.try(t, v, "ann", "secret"); !errors.Is(err, d.err) || errors.Is(err, account.ErrRefused) {
			t.Errorf("%s: %v", w.name, err)
		}
	}
	if _, err := v.Certificate(t.Context(), "", []string{"ann"}); !errors.Is(err, d.err) {
		t.Errorf("a certificate: %v", err)
	}
	if _, err := v.Token(t.Context(), "", "x"); !errors.Is(err, d.err) {
		t.Errorf("a token: %v", err)
	}
}

func TestSeveralPasswordsWillDo(t *testing.T) {
	d := with(nil)
	d.accounts["ann"] = &account.Account{Name: "ann", Proof: account.Hashed{Hashes: []string{otherHash, scramKeys, "{PLAIN}second", "{PLAIN}secret"}}}
	v := New(d, "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
	for _, w := range ways {
		for _, clear := range []string{"second", "secret"} {
			if id, err := w.try(t, v, "ann", clear); err != nil || id.Password != clear {
				t.Errorf("%s with %q: %+v, %v", w.name, clear, id, err)
			}
		}
	}
}

func TestTheFieldsOfUserdbAnswerCRAM(t *testing.T) {
	d := with(map[string]string{"ann": otherHash})
	d.accounts["ann"].States = map[string]string{"imap-hmac-md5pw": cramStates[len("{CRAM-MD5}"):]}
	a := New(d, "{PLAIN}decoy", 2)
	for protocol, want := range map[string]error{"imap": nil, "pop3": account.ErrRefused} {
		id, err := a.Verifier(account.Query{Protocol: protocol}, "").Answer(t.Context(), "ann", cramMD5("ann", "secret"))
		if !errors.Is(err, want) || want == nil && (!id.Proven || id.Password != "") {
			t.Errorf("%s: %+v, %v", protocol, id, err)
		}
	}
}

func TestNobodyActsForAnotherByProof(t *testing.T) {
	d := with(map[string]string{"ann": "{PLAIN}secret", "bob": "{PLAIN}secret"})
	a := New(d, "{PLAIN}decoy", 2)
	a.Tokens = tokens{"x": {"ann"}}.names
	v := a.Verifier(account.Query{}, "")
	for authz, want := range map[string]error{"": nil, "ann": nil, "bob": account.ErrRefused, "Ann": account.ErrRefused} {
		if id, err := scram(t, v, authz, "ann", "SHA-256", "secret"); !errors.Is(err, want) || want == nil && id.Account.Name != "ann" {
			t.Errorf("SCRAM for %q: %+v, %v", authz, id, err)
		}
		if id, err := v.Certificate(t.Context(), authz, []string{"ann"}); !errors.Is(err, want) || want == nil && (id.Account.Name != "ann" || !id.Proven) {
			t.Errorf("a certificate for %q: %+v, %v", authz, id, err)
		}
		if id, err := v.Token(t.Context(), authz, "x"); !errors.Is(err, want) || want == nil && (id.Account.Name != "ann" || !id.Proven) {
			t.Errorf("a token for %q: %+v, %v", authz, id, err)
		}
	}
}

func TestACertificateMayHaveSeveralNames(t *testing.T) {
	v := New(with(map[string]string{"ann": otherHash, "a.lee": "{PLAIN}secret"}), "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
	for authz, want := range map[string]string{"": "ann", "ann": "ann", "a.lee": "a.lee"} {
		id, err := v.Certificate(t.Context(), authz, []string{"ann", "a.lee"})
		if err != nil || id.Account.Name != want || (id.Password == "secret") != (want == "a.lee") {
			t.Errorf("for %q: %+v, %v", authz, id, err)
		}
	}
	if _, err := v.Certificate(t.Context(), "", []string{"gone"}); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("a name that is nobody's any more: %v", err)
	}
}

func TestTokensNeedAProvider(t *testing.T) {
	a := New(with(map[string]string{"ann": otherHash}), "{PLAIN}decoy", 2)
	if _, err := a.Verifier(account.Query{}, "").Token(t.Context(), "ann", "x"); !errors.Is(err, account.ErrRefused) {
		t.Errorf("without one: %v", err)
	}
	a.Tokens = tokens{}.names
	var why *sasl.TokenRefusal
	if _, err := a.Verifier(account.Query{}, "").Token(t.Context(), "ann", "x"); !errors.Is(err, account.ErrRefused) || !errors.As(err, &why) {
		t.Errorf("with another one's: %v", err)
	}
}

// A server that knows tokens is shown the one that the client has shown, also when the
// account has moved meanwhile.
func TestATokenStaysWithItsClient(t *testing.T) {
	was := &account.Account{Name: "ann", Asked: time.Now().Add(-time.Hour)}
	a := New(old{is: &account.Account{Name: "ann"}, was: was}, "{PLAIN}decoy", 2)
	a.Tokens = tokens{"x": {"ann"}}.names
	id, err := a.Verifier(account.Query{}, "").Token(t.Context(), "ann", "x")
	if err != nil || id.Token != "x" || id.Until != tomorrow || id.Again == nil {
		t.Fatalf("%+v, %v", id, err)
	}
	if now, err := id.Again(t.Context()); err != nil || now.Token != "x" || now.Until != tomorrow || !now.Proven || now.Account == was || now.Again != nil {
		t.Errorf("once more: %+v, %v", now, err)
	}
}

// old is a Directory that remembers, and the source behind it, which has changed.
type old struct{ is, was *account.Account }

func (d old) Lookup(_ context.Context, q account.Query) (*account.Account, error) {
	if q.Fresh {
		return d.is, nil
	}
	return d.was, nil
}

func TestANewPasswordHoldsAtOnce(t *testing.T) {
	was := &account.Account{Name: "ann", Proof: account.Hashed{Hashes: []string{"{PLAIN}first"}}, Asked: time.Now().Add(-time.Hour)}
	is := &account.Account{Name: "ann", Proof: account.Hashed{Hashes: []string{"{PLAIN}secret"}}}
	v := New(old{is: is, was: was}, "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
	for _, w := range ways {
		if id, err := w.try(t, v, "ann", "secret"); err != nil || id.Account != is {
			t.Errorf("%s: %+v, %v", w.name, id, err)
		}
		if _, err := w.try(t, v, "ann", "wrong"); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s, wrong: %v", w.name, err)
		}
	}
}

// checker is a source that checks answers itself.
type checker struct{}

func (c checker) Lookup(ctx context.Context, q account.Query) (*account.Account, error) {
	r := account.Reader{Name: "test", Source: c}
	return r.Lookup(ctx, q)
}

func (c checker) Ask(_ context.Context, q account.Query) (account.Record, error) {
	if q.Answer == nil || *q.Answer != cramMD5("ann", "secret") {
		return account.Record{}, account.ErrRefused
	}
	return account.Record{Proven: true}, nil
}

func TestASourceMayCheckAnswersItself(t *testing.T) {
	v := New(checker{}, "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
	if id, err := v.Answer(t.Context(), "ann", cramMD5("ann", "secret")); err != nil || !id.Proven || id.Password != "" {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := v.Answer(t.Context(), "ann", cramMD5("ann", "wrong")); !errors.Is(err, account.ErrRefused) || id.Account != nil {
		t.Errorf("wrong: %+v, %v", id, err)
	}
	// What it found right once, it has not found right for ever.
	a, err := checker{}.Lookup(t.Context(), account.Query{Name: "ann", Answer: ptr(cramMD5("ann", "secret"))})
	if err != nil {
		t.Fatal(err)
	}
	v = New(old{is: &account.Account{Name: "ann"}, was: a}, "{PLAIN}decoy", 2).Verifier(account.Query{}, "")
	if id, err := v.Answer(t.Context(), "ann", cramMD5("ann", "wrong")); !errors.Is(err, account.ErrRefused) || id.Account != nil {
		t.Errorf("remembered: %+v, %v", id, err)
	}
}

func ptr[T any](v T) *T { return &v }

// What a stranger is told of a name stays the same, and looks like what others are told.
func TestSaltsDoNotTellWhoIsThere(t *testing.T) {
	d := with(map[string]string{"ann": scramKeys, "bob": "{PLAIN}secret", "hashed": otherHash})
	salts := func(a *Auth, name string) string {
		p, err := a.Verifier(account.Query{}, "").SCRAM(t.Context(), "SHA-256", "", name)
		if err != nil {
			t.Fatal(err)
		}
		salt, iterations := p.Salt()
		return fmt.Sprintf("%x %d", salt, iterations)
	}
	one, again, other := New(d, "{PLAIN}decoy", 2), New(d, "{PLAIN}decoy", 2), New(d, "{PLAIN}decoy", 2)
	one.Salt, again.Salt = []byte("the same"), []byte("the same")
	for _, a := range []*Auth{one, again, other} {
		_ = salts(a, "ann") // now it is known what keys look like here
	}
	for _, name := range []string{"bob", "hashed", "nobody", "no\nbody"} {
		first := salts(one, name)
		if len(first) != len(salts(one, "ann")) || first[33:] != "4096" {
			t.Errorf("%q is told %q, who has keys %q", name, first, salts(one, "ann"))
		}
		if salts(one, name) != first || salts(again, name) != first {
			t.Errorf("%q is told something else each time", name)
		}
		if salts(other, name) == first || salts(one, name+"x") == first {
			t.Errorf("%q: others can know what it is told", name)
		}
	}
}

// Keys that are worth nothing, or cost much, are not made for others.
func TestOddKeysAreNoModelForOthers(t *testing.T) {
	var s shapes
	draw := func(one shape) []byte { return []byte(one.String()) }
	for _, odd := range []shape{{16, 1}, {16, 4095}, {16, 5_000_000}} {
		s.learn(odd)
	}
	if got := s.of(draw); got != usual {
		t.Errorf("%v", got)
	}
	for i := range 100 {
		s.learn(shape{16, leastIterations + i})
	}
	if len(s.seen) != mostShapes {
		t.Errorf("%d are kept", len(s.seen))
	}
}

// A busy server says so, to everybody alike.
func TestSCRAMWaitsForItsTurn(t *testing.T) {
	a := New(with(map[string]string{"ann": scramKeys}), "{PLAIN}decoy", 2)
	full(a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"ann", "nobody"} {
		if _, err := a.Verifier(account.Query{}, "").SCRAM(ctx, "SHA-256", "", name); !errors.Is(err, context.Canceled) || errors.Is(err, account.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := a.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}
