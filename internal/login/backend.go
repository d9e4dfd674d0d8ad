package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"usher/internal/route"
	"usher/internal/session"
	"usher/internal/wire"
)

// Backends opens targets.
type Backends interface {
	// Open connects to the target's stops in turn until enter succeeds at one,
	// and returns that connection. An error of enter with Final() true ends the
	// search; after any other the next address is tried.
	Open(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error)
}

// maxReferrals is how often a server may send a login on to another one.
const maxReferrals = 5

// openBackend opens the target, and those to which its servers refer the login.
func (d *Desk) openBackend(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	if d, ok := t.(route.Dial); ok && d.Timeout > 0 { // for all servers together, referred ones too
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	for range maxReferrals {
		b, err := d.Backends.Open(ctx, t, enter)
		var r *Referral
		if !errors.As(err, &r) {
			return b, err
		}
		if t, err = r.target(t); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("servers refer this login to each other")
}

// announced is a target whose servers are told of the client before all else, where
// they want it.
func (a *Admission) announced(t route.Target) (route.Target, error) {
	if d, ok := t.(route.Dial); ok {
		for i, s := range d.Stops {
			if s.ProxyProtocol > 0 {
				d.Stops[i].Preface = a.client.header().Bytes(s.ProxyProtocol)
			}
			if s.Exec != nil {
				s.Exec.Client = a.introduction()
			}
			if s.Node != "" {
				voucher, err := a.voucher()
				if err != nil {
					return nil, err
				}
				d.Stops[i].Preface = voucher
			}
		}
	}
	return t, nil
}

// introduction is what a program of this machine may know of the client.
func (a *Admission) introduction() route.Told {
	c := a.client
	return route.Told{ID: c.ID.String(), Remote: c.Remote, Local: c.Local, TLS: c.encrypted(), UTF8: c.UTF8}
}

// trusting refuses to have a mailbox opened without a password for a client whose
// password nobody has checked. Nothing has been started or told anybody yet.
func (a *Admission) trusting(t route.Target) error {
	d, _ := t.(route.Dial)
	for _, s := range d.Stops {
		if s.Preauth() && !a.who.Proven {
			return unproven(a.who.Account.Name, s)
		}
	}
	return nil
}

// enter logs in at one stop.
func (a *Admission) enter(ctx context.Context, b *wire.Conn, s route.Stop) error {
	t, err := a.ticket(s)
	if err != nil {
		return err
	}
	a.stop = s
	a.watch(b, t)
	a.session = a.describe(b)
	a.desk.Sessions.Expect(a.session)
	a.Welcome, err = a.client.Protocol.Enter(ctx, b, t)
	err = t.scrub(err, s.Login.Password != "" || s.Login.Token)
	if err != nil {
		a.desk.Sessions.Remove(a.session.ID)
	}
	if err != nil && s.Node != "" {
		err = fmt.Errorf("at node %s, whose log has more with ext=%s: %w", s.Node, a.client.sessionID(), err)
	}
	var r *Referral
	if errors.As(err, &r) {
		r.from = s
	}
	return err
}

// describe is what others may know of the login, while it is on its way and
// afterwards.
func (a *Admission) describe(b *wire.Conn) *session.Session {
	c := a.client
	s := &session.Session{
		ID: c.ID, Account: a.who.Account.Name, Protocol: c.Protocol.Info().Name,
		Remote: c.Remote, Target: a.stop.String(), TLS: tlsName(c), Since: time.Now(), Until: a.who.Until, Front: c.front(),
	}
	s.Near, s.Far = b.Ends()
	return s
}

// ticket is what the client, its account and the stop together say of a login.
func (a *Admission) ticket(s route.Stop) (Ticket, error) {
	l := s.Login
	t := Ticket{Client: a.client, User: l.User, Master: l.Master, Password: a.who.Password, Token: a.who.Token, Trusted: s.Trusted}
	if s.Preauth() {
		return a.pass(s)
	}
	if s.Trusted {
		a.client.onward = a.forward()
	}
	if (l.Password != "" || l.Token) && !a.who.Proven {
		return t, unproven(a.who.Account.Name, s)
	}
	if l.Password != "" {
		t.Password, t.Token = l.Password, ""
	}
	if l.Token {
		if err := a.mint(&t, s); err != nil {
			return t, err
		}
	}
	if s.NeedsStartTLS() {
		t.TLS = s.ClientConfig()
	}
	if err := a.choose(&t, s); err != nil {
		return t, err
	}
	if t.Mechanism != nil && t.Mechanism.Proven && !a.who.Proven {
		return t, unproven(a.who.Account.Name, s)
	}
	if !t.shows() {
		return t, Misconfiguration("%q has proved who it is without showing its password, and usher has none for %s: "+
			"keep the account's password as {PLAIN}, give it the field pass, let a master or a token of usher's log in "+
			"(login = { as = \"master\", … } or { as = \"token\" } in [backend.%s]), "+
			"or leave such mechanisms out of [auth] mechanisms", a.who.Account.Name, s, s.Backend)
	}
	return t, nil
}

// pass is the ticket for who believes us: it shows nothing.
func (a *Admission) pass(s route.Stop) (Ticket, error) {
	t := Ticket{Client: a.client, User: a.who.Account.Name, Preauth: true}
	t.Silent = s.Exec != nil && s.Exec.Speaks == route.Dovecot
	return t, a.trusting(route.Dial{Stops: []route.Stop{s}})
}

func unproven(name string, s route.Stop) error {
	return Misconfiguration("nobody checks the password of %q: the account has none, and usher has its own way in to %s", name, s)
}

// choose takes the mechanism that the account or the backend wants.
func (a *Admission) choose(t *Ticket, s route.Stop) error {
	l := s.Login
	if l.Mechanism == "" {
		return nil
	}
	for _, m := range a.desk.Towards {
		if strings.EqualFold(m.Name, l.Mechanism) && m.Enter != nil && (m.Authz || l.Master == "") { // Dovecot's proxy_mech is in small letters
			if m.Proven && !s.ShowsCertificate() {
				return Misconfiguration("towards %s: usher has no certificate for %s: set cert and key in [backend.%s]", s, m.Name, s.Backend)
			}
			t.Mechanism = &m
			return nil
		}
	}
	return Misconfiguration("towards %s: mechanism %q is not known, or cannot say for whom the master %q logs in", s, l.Mechanism, l.Master)
}
