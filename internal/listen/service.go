package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/session"
	"usher/internal/wire"
)

// A Service is what clients find behind a listener. Its fields are not changed
// once it is in use.
type Service struct {
	Protocol login.Protocol
	Implicit bool // TLS from the first byte
	Terms    login.Terms
	Desk     *login.Desk
	Limits   *limit.Limits
	Bounds   Bounds
	Refusals *Refusals // the same for all services
	Log      *slog.Logger

	Fronts  []netip.Prefix // load balancers: their connections begin with a PROXY header
	Trusted []netip.Prefix // who is believed what it tells of clients

	conversations sync.WaitGroup
}

// Wait returns when all conversations that have begun here have ended. No
// listener uses the service any more.
func (s *Service) Wait() { s.conversations.Wait() }

// Bounds are what a client may take of us before login.
type Bounds struct {
	Login   time.Duration // for the whole login; 0: for ever
	Command time.Duration // for one command, once begun
}

// What a client may say before login. The longest honest login is far below.
const (
	maxBytes = 64 << 10
	maxLines = 200
)

// receive gives a client its place, or refuses it, and returns what is to be done
// next; nil: nothing. The next client is accepted afterwards only: goroutines that
// wait for a processor would hold more descriptors than there is room for.
func (s *Service) receive(nc net.Conn) (next func(ctx, abort context.Context)) {
	c := &login.Client{
		ID: session.NewID(), Protocol: s.Protocol, Terms: s.Terms,
		Remote: wire.AddrPort(nc.RemoteAddr()), Local: wire.AddrPort(nc.LocalAddr()),
	}
	c.Peer = c.Remote
	c.Trusted = !s.fronted(c) && within(c.Remote.Addr(), s.Trusted)
	p := &place{service: s, client: c}
	if err := p.take(p.first()); err != nil {
		return s.refuse(nc, c, err)
	}
	c.Counted = p.move
	return func(ctx, abort context.Context) {
		defer p.give()
		s.converse(ctx, abort, nc, c)
	}
}

// converse serves one client until it is admitted or gone.
func (s *Service) converse(ctx, abort context.Context, nc net.Conn, c *login.Client) {
	c.Conn = wire.New(nc, s.bounds())
	defer func() { _ = c.Conn.Close() }() // nothing, if it went to the relay
	defer context.AfterFunc(ctx, c.Conn.Interrupt)()
	defer s.survive(c)
	if err := s.serve(abort, c); err != nil {
		s.doubt(c, err)
		s.Log.Debug("left before login", "id", c.ID.String(), "protocol", c.Protocol.Info().Name, "remote", c.Remote.String(), "err", err)
	}
}

// survive keeps a bug that one client has found from ending the sessions of all
// others.
func (s *Service) survive(c *login.Client) {
	if bug := recover(); bug != nil {
		s.Log.Error("bug: a conversation panicked, please report this", "id", c.ID.String(), "protocol", c.Protocol.Info().Name,
			"remote", c.Remote.String(), "err", fmt.Sprint(bug), "stack", string(debug.Stack()))
	}
}

func (s *Service) serve(ctx context.Context, c *login.Client) error {
	if err := s.introduce(ctx, c); err != nil {
		return err
	}
	if s.Implicit {
		if err := c.StartTLS(ctx); err != nil {
			return err
		}
	}
	return c.Protocol.Serve(ctx, c, s.Desk)
}

func (s *Service) bounds() wire.Bounds {
	b := wire.Bounds{Step: s.Bounds.Command, Bytes: maxBytes, Lines: maxLines}
	if s.Bounds.Login > 0 {
		b.Until = time.Now().Add(s.Bounds.Login)
	}
	return b
}

// ServerConfig is a TLS configuration for the clients of one protocol: RFC 7301
// keeps others from being fooled into it (ALPACA).
func ServerConfig(base *tls.Config, p login.Protocol) *tls.Config {
	c := base.Clone()
	c.NextProtos = []string{p.Info().ALPN}
	return c
}
