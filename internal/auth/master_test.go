package auth

import (
	"errors"
	"testing"

	"usher/internal/account"
	"usher/internal/sasl"
)

// withMasters has users with passwords that the masters do not know.
func withMasters(separator string) *Auth {
	a := New(with(map[string]string{"ann@example.org": "{PLAIN}hers", "boss@example.org": "{PLAIN}his", "hashed@example.org": otherHash}), "{PLAIN}decoy", 2)
	a.Masters, a.Separator = with(map[string]string{"boss": "{PLAIN}secret", "ann@example.org": "{PLAIN}secret"}), separator
	return a
}

// masterWays are those in which a master can show that it is one.
var masterWays = []struct {
	name  string
	authz bool // can say for whom besides by the name
	try   func(t *testing.T, v sasl.Verifier, authz, authn, clear string) (sasl.Identity, error)
}{
	{"password", true, func(t *testing.T, v sasl.Verifier, authz, authn, clear string) (sasl.Identity, error) {
		return v.Password(t.Context(), authz, authn, clear)
	}},
	{"SCRAM", true, func(t *testing.T, v sasl.Verifier, authz, authn, clear string) (sasl.Identity, error) {
		return scram(t, v, authz, authn, "SHA-256", clear)
	}},
	{"CRAM", false, func(t *testing.T, v sasl.Verifier, _, authn, clear string) (sasl.Identity, error) {
		return v.Answer(t.Context(), authn, cramMD5(authn, clear))
	}},
}

func TestAMasterOpensTheMailboxesOfOthers(t *testing.T) {
	v := withMasters("*").Verifier(account.Query{Protocol: "imap"}, "example.org")
	for _, w := range masterWays {
		for _, says := range [][2]string{{"", "ann*boss"}, {"", "ann@example.org*boss"}, {"ann", "ann*boss"}, {"ann*boss", "ann*boss"}, {"ann", "boss"}, {"ann@example.org", "boss"}} {
			if says[0] != "" && !w.authz {
				continue
			}
			id, err := w.try(t, v, says[0], says[1], "secret")
			if err != nil || !id.Proven || id.Account.Name != "ann@example.org" || id.Master != "boss" || id.Password != "hers" {
				t.Errorf("%s %q: %+v, %v", w.name, says, id, err)
			}
			for _, wrong := range []string{"hers", "his", "wrong"} {
				if id, err := w.try(t, v, says[0], says[1], wrong); !errors.Is(err, account.ErrRefused) || id.Account != nil {
					t.Errorf("%s %q with %q: %+v, %v", w.name, says, wrong, id, err)
				}
			}
		}
	}
}

// Masters are not users, users are not masters, and what nobody has nobody opens.
func TestOnlyMastersActForOthers(t *testing.T) {
	v := withMasters("*").Verifier(account.Query{Protocol: "imap"}, "example.org")
	for _, w := range masterWays {
		for _, says := range []struct{ authz, authn, clear string }{
			{"", "boss", "secret"},                // as itself
			{"", "ann*", "secret"},                // no master
			{"", "*boss", "secret"},               // for nobody
			{"", "eve*boss", "secret"},            // for one that nobody has
			{"", "ann*boss*boss", "secret"},       // twice
			{"", "boss*ann", "hers"},              // a user's password
			{"ann", "boss@example.org", "his"},    // a user
			{"hashed", "ann*boss", "secret"},      // for two
			{"eve@example.org", "boss", "secret"}, // for one that nobody has
		} {
			if says.authz != "" && !w.authz {
				continue
			}
			id, err := w.try(t, v, says.authz, says.authn, says.clear)
			if !errors.Is(err, account.ErrRefused) && !errors.Is(err, account.ErrUnknown) || id.Account != nil {
				t.Errorf("%s %+v: %+v, %v", w.name, says, id, err)
			}
		}
	}
}

// Without a separator it is a character like others.
func TestNamesSayNothingOfMastersUnlessTheyAreToldTo(t *testing.T) {
	for name, a := range map[string]*Auth{"no separator": withMasters(""), "no masters": {}} {
		if name == "no masters" {
			a = withMasters("*")
			a.Masters = nil
		}
		v := a.Verifier(account.Query{Protocol: "imap"}, "example.org")
		if id, err := v.Password(t.Context(), "", "ann*boss", "secret"); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestAMasterNeedsAPasswordThatSomebodyChecks(t *testing.T) {
	a := withMasters("*")
	m := a.Masters.(*table)
	m.accounts["open"] = &account.Account{Name: "open"}
	m.accounts["closed"] = &account.Account{Name: "closed", Proof: account.Hashed{Hashes: []string{"{PLAIN}secret"}}, Denied: &account.Denied{}}
	for _, master := range []string{"open", "closed"} {
		id, err := a.Verifier(account.Query{Protocol: "imap"}, "example.org").Password(t.Context(), "", "ann*"+master, "secret")
		if !errors.Is(err, account.ErrRefused) || id.Account != nil {
			t.Errorf("%s: %+v, %v", master, id, err)
		}
	}
	m.err = errors.New("down")
	if _, err := a.Verifier(account.Query{Protocol: "imap"}, "").Password(t.Context(), "", "ann*boss", "secret"); !errors.Is(err, m.err) {
		t.Errorf("with the masters' source down: %v", err)
	}
}

// Guesses are held against the one whose password is guessed.
func TestAMasterIsNamedByItsOwnName(t *testing.T) {
	a := withMasters("*")
	for says, want := range map[[2]string]string{
		{"", "ann*boss"}: "boss", {"", "ann"}: "ann@example.org", {"", "boss"}: "boss@example.org", // a user may be called so, too
		{"ann", "boss"}: "boss", {"ann", "ann*boss"}: "boss", {"boss", "boss@example.org"}: "boss@example.org",
	} {
		if got := a.Named(says[0], says[1], "example.org"); got != want {
			t.Errorf("%q is %q, want %q", says, got, want)
		}
	}
}
