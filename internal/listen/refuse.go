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
	quietFor    = time.Second     // after a line in the log
)

// Refusals keep those for whom there is no room from taking what is left: few
// hear why at a time, and the log has a line a second. The zero value is ready.
type Refusals struct {
	mu  sync.Mutex
	now int // who are being told
	log brief
}

// refuse hangs up on a client for whom there is no room, or returns how to tell
// it first.
func (s *Service) refuse(nc net.Conn, c *login.Client, why error) (tell func(ctx, abort context.Context)) {
	s.logRefusal(c, why)
	if !s.Refusals.begin() {
		_ = nc.Close()
		return nil
	}
	return func(ctx, _ context.Context) {
		defer s.Refusals.end()
		s.tell(ctx, nc, c)
	}
}

func (s *Service) logRefusal(c *login.Client, why error) {
	if others, ok := s.Refusals.toSay(time.Now()); ok {
		s.Log.Warn("connection refused", "id", c.ID.String(), "protocol", c.Protocol.Info().Name,
			"remote", c.Remote.String(), "why", why.Error(), "others", others)
	}
}

// tell says that there is no room, and hangs up.
func (s *Service) tell(ctx context.Context, nc net.Conn, c *login.Client) {
	c.Conn = wire.New(nc, wire.Bounds{Step: refusalTime, Until: time.Now().Add(refusalTime), Bytes: maxBytes})
	defer func() { _ = c.Conn.Close() }()
	defer context.AfterFunc(ctx, c.Conn.Interrupt)()
	if s.Implicit && c.StartTLS(ctx) != nil {
		return
	}
	_ = c.Conn.WriteLine(c.Protocol.Info().Full)
	_ = c.Conn.Flush()
}

func (r *Refusals) toSay(now time.Time) (others int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.toSay(now)
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

// brief is for what happens often and is to be one line a second in the log.
type brief struct {
	silent int       // times since the last line
	said   time.Time // when that was
}

// toSay tells whether to write a line, and for how many others it stands.
func (b *brief) toSay(now time.Time) (others int, ok bool) {
	if now.Sub(b.said) < quietFor {
		b.silent++
		return 0, false
	}
	others, b.silent, b.said = b.silent, 0, now
	return others, true
}
