package listen

import (
	"net/netip"

	"usher/internal/login"
)

// first is the address that a client counts under when it comes: none, if it is
// known to be a front end's, which has many clients.
func (s *Service) first(c *login.Client) netip.Addr {
	if c.Trusted || s.fronted(c) {
		return netip.Addr{}
	}
	return c.Remote.Addr()
}

// counted returns what counts a client under the address that its front end has told.
func (s *Service) counted(c *login.Client) func(netip.Addr) error {
	return func(a netip.Addr) error {
		err := c.Place.Move(a)
		if err != nil {
			s.logRefusal(&s.Refusals.log, c, err)
		}
		return err
	}
}
