package listen

import (
	"context"
	"net"
	"sync"
	"time"

	"usher/internal/login"
	"usher/internal/wire"
)

const (
	refusalTime = 5 * time.Second // for a client to hear that there is no room
	atOnce      = 16              // who hear it; others are closed without a word
)

// Refusals keep those for whom there is no room from taking what is left: few
// hear why at a time, and the log has a line a second. The zero value is ready.
type Refusals struct {
	log, doubts login.Brief // for want of room; for want of a PROXY header

	mu  sync.Mutex
	now int // who are being told
}

// refuse hangs up on a client for whom there is no room, or returns how to tell
// it first.
func (s *Service) refuse(nc net.Conn, c *login.Client, why error) (tell func(ctx, abort context.Context)) {
	s.logRefusal(&s.Refusals.log, c, why)
	if c.Protocol.Info().Full == "" || !s.Refusals.begin() {
		_ = nc.Close()
		return nil
	}
	return func(ctx, _ context.Context) {
		defer s.Refusals.end()
		s.tell(ctx, nc, c)
	}
}

// logRefusal writes the line, unless there was one of its kind just before.
func (s *Service) logRefusal(b *login.Brief, c *login.Client, why error) {
	if others, ok := b.ToSay(time.Now()); ok {
		s.Log.Warn("connection refused", "id", c.ID.String(), "protocol", c.Protocol.Info().Name,
			"remote", c.Remote.String(), "why", why.Error(), "others", others)
	}
}

// tell says that there is no room, and hangs up.
func (s *Service) tell(ctx context.Context, nc net.Conn, c *login.Client) {
	c.Conn = wire.New(nc, wire.Bounds{Step: refusalTime, Until: time.Now().Add(refusalTime), Bytes: maxBytes})
	defer func() { _ = c.Conn.Close() }()
	defer context.AfterFunc(ctx, c.Conn.Interrupt)()
	if s.fronted(c) {
		if _, err := s.header(c); err != nil {
			return
		}
	}
	s.full(ctx, c)
}

// full says that there is no room.
func (s *Service) full(ctx context.Context, c *login.Client) {
	if s.Implicit && c.StartTLS(ctx) != nil {
		return
	}
	_ = c.Conn.WriteLine(c.Protocol.Info().Full)
	_ = c.Conn.Flush()
}

func (r *Refusals) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now >= atOnce {
		return false
	}
	r.now++
	return true
}

func (r *Refusals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
}
