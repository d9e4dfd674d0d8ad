package login

import (
	"fmt"

	"usher/internal/route"
	"usher/internal/sasl"
)

// Towards servers a token is shown by the mechanism that they announce: the client's own,
// or one that is made for this login.

// mint has a token made in place of whatever the client has shown.
func (a *Admission) mint(t *Ticket, s route.Stop) error {
	made, err := a.desk.Mint(s.Backend, s.Login.User)
	if err != nil {
		return Misconfiguration("cannot make a token for %s: %w", s, err)
	}
	t.Token, t.Password, t.Master = made, "", ""
	return nil
}

// shows tells whether there is something to show to the server.
func (t Ticket) shows() bool {
	switch m := t.Mechanism; {
	case t.Password != "": // it may be a token, too
		return true
	case m == nil, m.Token:
		return t.Token != ""
	default:
		return m.Proven
	}
}

// tokenMechanisms show tokens, the preferred first.
var tokenMechanisms = []*sasl.Mechanism{&sasl.OAuthBearer, &sasl.XOAuth2}

// Choose is the mechanism that the ticket demands, or one that shows its token, as the
// server offers it; nil: what fits the password.
func (t Ticket) Choose(offers func(name string) bool) (*sasl.Mechanism, error) {
	if t.Mechanism != nil || t.Token == "" {
		return t.Mechanism, nil
	}
	for _, m := range tokenMechanisms {
		if offers(m.Name) {
			return m, nil
		}
	}
	if t.Password != "" {
		return nil, nil
	}
	return nil, &Refusal{Reason: Misconfigured, Err: fmt.Errorf("the server takes no tokens (%s), and usher has no password for it: "+
		"let it take them (auth_mechanisms in Dovecot), let a master log in (login = { as = \"master\", … }), or give the account the field pass",
		"OAUTHBEARER, XOAUTH2")}
}
