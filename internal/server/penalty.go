package server

import (
	"fmt"
	"os"
	"time"

	"usher/internal/admin"
	"usher/internal/limit"
	"usher/internal/penalty"
)

const (
	mostSteps   = 25   // failure_delay grows to so many times itself: a short one stays short
	mostWaiting = 1000 // tries at a time: some 30 MB
)

// terms say how severe penalties are. Those who wait one out take a quarter of the
// room at most.
func (h *house) terms(room int) penalty.Terms {
	step := time.Duration(h.cfg.Limit.FailureDelay)
	t := penalty.Terms{Step: step, Most: min(time.Duration(h.cfg.Limit.FailureDelayMax), mostSteps*step), Waiting: mostWaiting}
	if room > 0 {
		t.Waiting = min(t.Waiting, max(1, room/4))
	}
	return t
}

// limits translates prefix4, prefix6 and exempt.
func (b *builder) limits() limit.Networks {
	l := b.cfg.Limit
	if l.Prefix4 < 1 || l.Prefix4 > 32 {
		b.wrong("write a number from 1 to 32", "limit.prefix4", "%d is not how many bits of an IPv4 address may count", l.Prefix4)
	}
	if l.Prefix6 < 1 || l.Prefix6 > 128 {
		b.wrong("write a number from 1 to 128", "limit.prefix6", "%d is not how many bits of an IPv6 address may count", l.Prefix6)
	}
	return limit.Networks{V4: l.Prefix4, V6: l.Prefix6, Exempt: b.networks("limit.exempt", l.Exempt)}
}

// Penalties implements admin.Daemon.
func (s *Server) Penalties() (list []admin.Penalty) {
	for _, p := range s.penalties.List() {
		a := admin.Penalty{User: p.User, Guesses: p.Guesses, Friends: p.Friends, Waiting: p.Waiting, Until: p.Until, PID: os.Getpid()}
		if p.Network.IsValid() {
			a.Network = p.Network.String()
		}
		list = append(list, a)
	}
	return list
}

// Forgive implements admin.Daemon.
func (s *Server) Forgive(whom admin.Pardon) (int, error) {
	switch {
	case whom.All:
		return s.penalties.ForgiveAll(), nil
	case whom.User != "":
		return s.penalties.ForgiveUser(whom.User), nil
	}
	p, err := parseNetwork(whom.Network)
	if err != nil {
		return 0, fmt.Errorf("%.80q is neither an address nor a network", whom.Network)
	}
	return s.penalties.Forgive(p), nil
}
