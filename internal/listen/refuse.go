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
	quietFor    = time.Second     // after a line about a refusal
)

// refusals keeps those for whom there is no room from taking what is left: few
// hear why at a time, and the log has a line a second.
type refusals struct {
	mu     sync.Mutex
	now    int       // who are being told
	silent int       // refused since the last line
	said   time.Time // when that was
}

// refuse tells a client that there is no room, and hangs up.
func (s *Service) refuse(ctx context.Context, nc net.Conn, c *login.Client, why error) {
	defer func() { _ = nc.Close() }()
	if others, ok := s.refusals.toSay(time.Now()); ok {
		s.Log.Warn("connection refused", "id", c.ID.String(), "protocol", c.Protocol.Info().Name,
			"remote", c.Remote.String(), "why", why.Error(), "others", others)
	}
	if !s.refusals.begin() {
		return
	}
	defer s.refusals.end()
	c.Conn = wire.New(nc, wire.Bounds{Step: refusalTime, Until: time.Now().Add(refusalTime), Bytes: maxBytes})
	defer func() { _ = c.Conn.Close() }()
	defer context.AfterFunc(ctx, c.Conn.Interrupt)()
	if s.Implicit && c.StartTLS(ctx) != nil {
		return
	}
	_ = c.Conn.WriteLine(c.Protocol.Info().Full)
	_ = c.Conn.Flush()
}

// toSay tells whether a refusal is worth a line, and for how many others that
// line stands.
func (r *refusals) toSay(now time.Time) (others int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.said) < quietFor {
		r.silent++
		return 0, false
	}
	others, r.silent, r.said = r.silent, 0, now
	return others, true
}

func (r *refusals) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now >= atOnce {
		return false
	}
	r.now++
	return true
}

func (r *refusals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
}
