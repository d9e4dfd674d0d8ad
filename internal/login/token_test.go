package login

import (
	"errors"
	"strings"
	"testing"

	"usher/internal/sasl"
)

func TestTokensAreNotLogged(t *testing.T) {
	shown := Ticket{User: "ann", Token: "eyJhbGciOi.J9.secret", Password: "clear secret"}
	for _, said := range []string{
		"no: eyJhbGciOi.J9.secret", "no: clear secret", base64Std.EncodeToString([]byte("user=ann\x01auth=Bearer eyJhbGciOi.J9.secret\x01\x01")),
		base64Std.EncodeToString([]byte("n,a=ann,\x01auth=Bearer eyJhbGciOi.J9.secret\x01\x01")),
	} {
		if err := shown.scrub(errors.New(said), false); !strings.Contains(err.Error(), "***") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "J9") {
			t.Errorf("%q is logged as %q", said, err)
		}
	}
}

func TestATokenIsShownByWhatTheServerOffers(t *testing.T) {
	for _, c := range []struct {
		offers string
		ticket Ticket
		want   string
	}{
		{"PLAIN XOAUTH2 OAUTHBEARER", Ticket{Token: "x"}, "OAUTHBEARER"},
		{"PLAIN XOAUTH2", Ticket{Token: "x", Password: "p"}, "XOAUTH2"},
		{"PLAIN", Ticket{Token: "x", Password: "p"}, ""},
		{"PLAIN XOAUTH2", Ticket{Token: "x", Password: "p", Mechanism: &sasl.Plain}, "PLAIN"},
		{"PLAIN XOAUTH2", Ticket{Password: "p"}, ""},
		{"PLAIN", Ticket{Token: "x"}, "misconfigured"},
	} {
		m, err := c.ticket.Choose(func(name string) bool { return strings.Contains(" "+c.offers+" ", " "+name+" ") })
		got := ""
		switch {
		case err != nil:
			got = ReasonOf(err).String()
		case m != nil:
			got = m.Name
		}
		if got != c.want {
			t.Errorf("%s, %+v: %q, want %q", c.offers, c.ticket, got, c.want)
		}
	}
}
