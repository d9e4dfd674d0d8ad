package login

import (
	"context"
	"errors"
	"fmt"

	"usher/internal/account"
	"usher/internal/pool"
	"usher/internal/route"
	"usher/internal/sasl"
)

// A node of the pool that has found out who a client is tells the node where the
// mailbox lives, which believes it: there the client is let in without any question but
// whether there is room. See package pool.

// A Greeter is a Protocol whose clients may come as somebody already: the greeting tells
// whether they are let in.
type Greeter interface {
	Protocol
	// Greet admits a client and greets it. It returns why the conversation ended, nil for
	// a session that was handed to the relay.
	Greet(c *Client, admit func() (*Admission, error)) error
}

// voucher is what another node is told of a client.
func (a *Admission) voucher() ([]byte, error) {
	c := a.client
	v := pool.Voucher{
		Client: c.header(), Protocol: c.Protocol.Info().Name, UTF8: c.UTF8, Build: a.desk.Build,
		Account: pool.Account{Name: a.who.Account.Name, Fields: a.who.Account.Passport()},
	}
	b, err := v.Bytes()
	if err != nil {
		return nil, Misconfiguration("accounts %q: user %q: %w", a.who.Account.Source, a.who.Account.Name, err)
	}
	return b, nil
}

// Introduced takes what another node says of a client that comes by it.
func (c *Client) Introduced(v pool.Voucher, node string) {
	c.Introduce(v.Client)
	c.Remote, c.Local = v.Client.Remote, v.Client.Local // also if they are not known: the node's own are not the client's
	if c.transport == "" {
		c.transport = insecure
	}
	c.UTF8, c.node, c.Trusted = v.UTF8, node, false
}

// Vouched admits a client for which another node vouches. Its account is as that node
// says; no source is asked, no guess is counted, and no policy service: all that has
// been done there. It is served here or not at all: a login cannot go in a circle.
func (d *Desk) Vouched(ctx context.Context, c *Client, who *account.Account) (*Admission, error) {
	a := &Admission{desk: d, client: c, who: sasl.Identity{Account: who, Proven: true}}
	admitted := false
	defer func() {
		if !admitted { // also if something panicked
			a.seat.Release()
			d.Sessions.Remove(c.ID)
		}
	}()
	if err := a.here(ctx); err != nil {
		d.logRefusal(a, err)
		a.noteRefusal(err)
		return nil, err
	}
	admitted = true
	return a, nil
}

// here lets a client that is known in to a program of this machine.
func (a *Admission) here(ctx context.Context) error {
	if err := a.permit(ctx); err != nil {
		return err
	}
	v := route.Visit{Protocol: a.client.Protocol.Info().Name, Remote: a.client.Remote.Addr(), Account: a.who.Account}
	target, err := a.desk.Routes.Here(v)
	if err != nil {
		return Misconfiguration("a node vouches for %q, whom this one does not serve: %w", a.who.Account.Name, err)
	}
	t, err := a.announced(target)
	if err == nil {
		a.backend, err = a.desk.openBackend(ctx, t, a.enter)
	}
	if err != nil {
		return a.blame(err)
	}
	return nil
}

// RefuseVoucher refuses what a node says, and logs it: it is the nodes that do not fit
// together, whoever the client is.
func (d *Desk) RefuseVoucher(c *Client, user string, why error) error {
	a := &Admission{desk: d, client: c, who: sasl.Identity{Account: &account.Account{Name: user}}}
	why = Misconfiguration("%w", why)
	d.logRefusal(a, why)
	a.noteRefusal(why)
	return why
}

// ErrNoGreeting says that a protocol has no way to be spoken with somebody who is known
// already.
var ErrNoGreeting = errors.New("no client can come as somebody already")

// GreeterOf is a protocol as a Greeter.
func GreeterOf(p Protocol) (Greeter, error) {
	if g, ok := p.(Greeter); ok {
		return g, nil
	}
	return nil, fmt.Errorf("by this protocol %w", ErrNoGreeting)
}
