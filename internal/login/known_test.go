package login_test

import (
	"context"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/sasl"
)

// Who need not show a password may be whose account says so, and nobody else.
func TestWhoIsKnownMayBeWhoseUIDItIs(t *testing.T) {
	for name, c := range map[string]struct {
		known login.Known
		attrs map[string]string
		in    bool
	}{
		"the owner":                        {login.Known{UID: 1000, By: "uid 1000"}, map[string]string{"uid": "1000"}, true},
		"somebody else":                    {login.Known{UID: 1001, By: "uid 1001"}, map[string]string{"uid": "1000"}, false},
		"anybody, of an account without":   {login.Known{UID: 1000, By: "uid 1000"}, nil, false},
		"nobody, where uid is no number":   {login.Known{UID: 0, By: "uid 0"}, map[string]string{"uid": "ann"}, false},
		"root, whoever the account is for": {login.Known{By: "root", All: true}, nil, true},
	} {
		s := newStage()
		s.desk.Verifier = func(*login.Client) sasl.Verifier {
			return proven(&account.Account{Name: "ann", Attrs: c.attrs, Place: account.Place{Password: "usher's own"}})
		}
		c.known.Name = "ann"
		s.client.Known = &c.known
		a, err := s.desk.AdmitKnown(context.Background(), s.client)
		if (err == nil) != c.in {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = a.Join()
		} else if login.ReasonOf(err) != login.BadLogin {
			t.Errorf("%s hears more than a stranger: %v", name, login.ReasonOf(err))
		}
		if said := strings.Contains(s.log.String(), `msg="login without a password"`); said != c.in {
			t.Errorf("%s: the log says %s", name, s.log.String())
		}
	}
}

// Nobody else can ask for it: it is no mechanism.
func TestClientsCannotSayThatTheyAreKnown(t *testing.T) {
	s := newStage()
	if _, err := s.desk.Admit(context.Background(), s.client, "(preauth)", nil); err == nil {
		t.Error("a client is let in without a password")
	}
}
