package listen

import (
	"context"
	"crypto/tls"
	"errors"
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
	"usher/internal/trace"
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
	Refusals *Refusals     // the same for all services
	Traces   *trace.Traces // nil: none
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
// wait for a processor would hold more descriptors than there is room for. The client
// stays as long as ctx lasts, at most.
func (s *Service) receive(ctx context.Context, g Guest) (next func(ctx, abort context.Context)) {
	nc, c := g.Conn, s.client(g)
	stay, leave := context.WithCancelCause(ctx)
	place, err := s.Limits.Connect(s.first(c), func() { leave(login.ErrCrowded) })
	if err != nil {
		leave(nil)
		return s.refuse(nc, c, err)
	}
	c.Stay, c.Place, c.Counted = stay, place, s.counted(c)
	return func(_, abort context.Context) {
		defer leave(nil)
		defer place.Release()
		s.converse(abort, nc, c)
	}
}

// client is who has come.
func (s *Service) client(g Guest) *login.Client {
	c := &login.Client{ID: session.NewID(), Protocol: s.Protocol, Terms: s.Terms, Known: g.Known}
	if g.Neighbour {
		c.Remote, c.Local = neighbour, neighbour
		return c // no peer: nobody is believed what it tells
	}
	c.Remote, c.Local = wire.AddrPort(g.Conn.RemoteAddr()), wire.AddrPort(g.Conn.LocalAddr())
	c.Peer = c.Remote
	c.Trusted = !s.fronted(c) && within(c.Remote.Addr(), s.Trusted)
	return c
}

// converse serves one client until it is admitted or gone.
func (s *Service) converse(abort context.Context, nc net.Conn, c *login.Client) {
	c.Conn = wire.New(nc, s.bounds())
	defer func() { _ = c.Conn.Close() }() // nothing, if it went to the relay
	s.watch(c)
	defer context.AfterFunc(c.Stay, c.Conn.Interrupt)()
	defer s.survive(c)
	err := s.serve(abort, c)
	c.Record.End("the client left before login, or had to: %v", err)
	switch {
	case err == nil:
	case errors.Is(context.Cause(c.Stay), login.ErrCrowded):
		s.logRefusal(&s.Refusals.log, c, login.ErrCrowded)
	default:
		s.doubt(c, err)
		s.Log.Debug("left before login", "id", c.ID.String(), "protocol", c.Protocol.Info().Name, "remote", c.Remote.String(), "err", err)
	}
}

// watch has a trace hear what is said, if any is on.
func (s *Service) watch(c *login.Client) {
	c.Record = s.Traces.Record(c.ID.String(), c.Protocol.Info().Name, c.Remote, c.Local)
	if c.Record != nil {
		c.Conn.SetWitness(c.Record.Client())
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
