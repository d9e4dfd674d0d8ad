package account

import (
	"errors"
	"testing"
	"time"
)

func TestALockedAccountIsKnownAndNobodyGetsIn(t *testing.T) {
	p := Locked{Why: "its password is locked"}
	for _, pw := range []string{"", "!", "*", "secret"} {
		if err := p.Check(t.Context(), pw); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", pw, err)
		}
	}
	m := newMemories(Times{Good: time.Hour, Stale: time.Hour}, nil).of("ann")
	m.Keep(Hashed{Hashes: []string{"{PLAIN}secret"}}, "secret")
	if m.Knows(p, "secret", false) || m.Knows(p, "secret", true) {
		t.Error("a password that was right before opens it")
	}
}

func TestPasswordsThatNothingFitsAreTold(t *testing.T) {
	for stored, want := range map[string]bool{
		"": true, "!": true, "!!": true, "*": true, "*LK*": true, "!$6$salt$hash": true, "{CRYPT}!$6$salt$hash": true, "{crypt}*": true, "{CRYPT}": true, "{SHA512-CRYPT}!$6$salt$hash": true,
		"x": false, "$6$salt$hash": false, "{PLAIN}!secret": false, "{PLAIN}*": false, "{SSHA}abc=": false, "a}!": false, "}!": false, "CRYPT}!": false,
	} {
		if IsLocked(stored) != want {
			t.Errorf("%q: %t", stored, !want)
		}
	}
}

// What usermod -L and LDAP's administrators do to a password is a refusal, and not an
// account that cannot be read: that would tell strangers which ones are locked.
func TestALockedPasswordOfAnySourceIsRefused(t *testing.T) {
	for _, f := range []Fields{
		{"password": "!"},
		{"password": "*"},
		{"password": "!$6$salt$hash"},
		{"userPassword": "{CRYPT}!$6$salt$hash"},
		{"password": "!\n*LK*"},
		{"password": "!", "nopassword": "Y"},
		{"password": "*", "pass": "backend", "master": "m"},
	} {
		a, err := f.Account("ann")
		if err != nil {
			t.Errorf("%v: %v", f, err)
			continue
		}
		if _, locked := a.Proof.(Locked); !locked {
			t.Errorf("%v: %#v", f, a.Proof)
		}
	}
	a, err := Fields{"password": "{CRYPT}!\n{PLAIN}secret"}.Account("ann")
	if err != nil || a.Proof.Check(t.Context(), "secret") != nil || !errors.Is(a.Proof.Check(t.Context(), "!"), ErrRefused) {
		t.Errorf("one of two is locked: %+v, %v", a, err)
	}
}
