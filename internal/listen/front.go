package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"usher/internal/login"
	"usher/internal/proxyheader"
	"usher/internal/wire"
)

// headerTime is how long a load balancer may take for its PROXY header, which it
// sends with the first packet.
const headerTime = 5 * time.Second

func within(a netip.Addr, networks []netip.Prefix) bool {
	a = a.WithZone("") // else no network would have it
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// fronted tells whether a connection must begin with a PROXY header. From others it
// is a bad command.
func (s *Service) fronted(c *login.Client) bool { return within(c.Peer.Addr(), s.Fronts) }

// introduce hears from a load balancer who its client is. That client's address
// decides whether it is trusted, as in Dovecot: else everybody who comes by a load
// balancer in a trusted network would be.
func (s *Service) introduce(ctx context.Context, c *login.Client) error {
	if !s.fronted(c) {
		return nil
	}
	h, err := s.header(c)
	if err != nil {
		return err
	}
	c.Introduce(h)
	c.Trusted = within(c.Remote.Addr(), s.Trusted)
	if !h.Remote.IsValid() || c.Trusted { // it speaks for itself, or will tell for whom
		return nil
	}
	if err := c.Counted(c.Remote.Addr()); err != nil {
		s.full(ctx, c)
		return err
	}
	return nil
}

// header reads the PROXY header. Load balancers that only look whether we live may
// leave without one.
func (s *Service) header(c *login.Client) (h proxyheader.Header, err error) {
	until := time.Now().Add(headerTime)
	err = c.Conn.Preface(until, func(r *bufio.Reader) error {
		h, err = proxyheader.Read(r)
		return err
	})
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, wire.ErrInterrupted):
		return h, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = proxyheader.ErrNone
	}
	s.logRefusal(&s.Refusals.doubts, c, fmt.Errorf("proxy_protocol of this listener names the address, but: %w", err))
	return h, err
}

// doubt says that a PROXY header has come which nobody has announced: most likely
// a line is missing in the configuration.
func (s *Service) doubt(c *login.Client, err error) {
	record, isTLS := errors.AsType[tls.RecordHeaderError](err)
	header := string(record.RecordHeader[:])
	if errors.Is(err, login.ErrHeader) || isTLS && (header == "PROXY" || header == "\r\n\r\n\x00") {
		s.logRefusal(&s.Refusals.doubts, c, errors.New("a PROXY header, but proxy_protocol of this listener does not name the address"))
	}
}
