package auth

import (
	"errors"
	"testing"

	"usher/internal/account"
	"usher/internal/password"
)

// Who guesses passwords does not learn from the time which accounts are locked.
func TestALockedAccountCostsWhatAnotherOneCosts(t *testing.T) {
	d := accounts("ann", "bob")
	hash, err := password.Make("SHA512-CRYPT", "secret")
	if err != nil {
		t.Fatal(err)
	}
	d.accounts["ann"].Proof = account.Hashed{Hashes: []string{hash}}
	d.accounts["bob"].Proof = account.Locked{Why: "its password is locked"}
	v := New(d, "{PLAIN}first decoy", 2).Verifier(account.Query{}, "")
	if _, err := v.Password(t.Context(), "", "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	if known, locked := cost(t, v, "ann"), cost(t, v, "bob"); locked < known/3 {
		t.Errorf("a wrong password takes %v, one of a locked account %v", known, locked)
	}
	for _, pw := range []string{"secret", "first decoy"} {
		if id, err := v.Password(t.Context(), "", "bob", pw); !errors.Is(err, account.ErrRefused) || id.Account != nil {
			t.Errorf("bob with %q: %+v, %v", pw, id, err)
		}
	}
}

// Whatever proves who somebody is: a locked account is closed.
func TestALockedAccountLetsNobodyIn(t *testing.T) {
	d := accounts("bob")
	d.accounts["bob"].Proof = account.Locked{Why: "its password is locked"}
	a := New(d, "{PLAIN}decoy", 2)
	a.Tokens = tokens{"x": {"bob"}}.names
	v := a.Verifier(account.Query{}, "")
	if id, err := v.Certificate(t.Context(), "", []string{"bob"}); !errors.Is(err, account.ErrRefused) || id.Account != nil {
		t.Errorf("a certificate: %+v, %v", id, err)
	}
	if id, err := v.Token(t.Context(), "bob", "x"); !errors.Is(err, account.ErrRefused) || id.Account != nil {
		t.Errorf("a token: %+v, %v", id, err)
	}
}
