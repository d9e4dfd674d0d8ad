package listen

import (
	"net/netip"

	"usher/internal/login"
)

// A place is what a client counts as, before it has logged in.
type place struct {
	service *Service
	client  *login.Client
	release func() // nil: it has none
}

// first is the address that a client counts under when it comes: none, if it is
// known to be a front end's, which has many clients.
func (p *place) first() netip.Addr {
	if p.client.Trusted || p.service.fronted(p.client) {
		return netip.Addr{}
	}
	return p.client.Remote.Addr()
}

func (p *place) take(a netip.Addr) (err error) {
	p.release, err = p.service.Limits.Connect(a)
	return err
}

func (p *place) give() {
	if p.release != nil {
		p.release()
		p.release = nil
	}
}

// move counts the client under the address that its front end has told.
func (p *place) move(a netip.Addr) error {
	p.give()
	err := p.take(a)
	if err != nil {
		p.service.logRefusal(&p.service.Refusals.log, p.client, err)
	}
	return err
}
