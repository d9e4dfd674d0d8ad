package server

import (
	"context"
	"errors"
	"net"
	"sync"

	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/stdio"
)

// bring gives the clients to the running usher. If it is not over with that we have them
// still: the error says why usher has no time for any just now.
func (s *Start) bring(ctx context.Context, cfg *config.Config, visit *doorway.Visit) (over bool, err error) {
	if len(s.given.Ports) > 0 {
		return true, s.bringAll(ctx, cfg, visit)
	}
	want := doorway.Request{Protocol: s.Protocol, TLS: s.TLS, User: s.User}
	if s.pipes == nil && visit.Own() {
		defer visit.Close()
		return s.done(visit.Give(want, s.given.Client))
	}
	inside, err := visit.Enter(want)
	if err != nil {
		visit.Close()
		return s.done(err)
	}
	pipes := s.pipes
	if pipes == nil {
		pipes = stdio.Both(s.given.Client)
	}
	defer context.AfterFunc(ctx, func() { _ = inside.Close() })()
	pipes.Pump(inside)
	return true, nil
}

// done tells whether usher has taken a client, or refused it. If the other process has
// gone in between, or says nothing, the client is ours still, and has heard nothing.
func (s *Start) done(err error) (over bool, _ error) {
	var refused *doorway.Refusal
	if over = err == nil || errors.As(err, &refused); !over {
		s.log.Warn(notBrought, "err", err)
	}
	return over, err
}

// bringAll brings all clients of the ports, until usher has no more time for them.
func (s *Start) bringAll(ctx context.Context, cfg *config.Config, visit *doorway.Visit) error {
	defer visit.Close()
	if err := s.resign(cfg); err != nil {
		return err
	}
	k := &keeper{Given: s.given, log: s.log, busy: func() bool { return false }, away: s.away}
	over, end := context.WithCancel(ctx)
	defer end()
	gone := make(chan struct{})
	k.Gone = gone
	go func() { visit.Gone(); end() }()
	go func() {
		select {
		case <-s.given.Gone:
		case <-over.Done():
		}
		close(gone)
	}()
	want := doorway.Request{Protocol: s.Protocol, TLS: s.TLS}
	var one sync.Mutex
	k.take = func(nc net.Conn) error {
		one.Lock()
		defer one.Unlock()
		err := visit.Give(want, nc)
		if err == nil {
			_ = nc.Close() // here; it is open there
		}
		return err
	}
	k.run(ctx)
	return nil
}

// resign becomes nobody in particular, in the jail if there is one: all that this process
// does is to pass connections on.
func (s *Start) resign(cfg *config.Config) error {
	u, err := lookupUser(cfg, s.given.Owner)
	if err != nil {
		return err
	}
	if s.given.Jail != "" {
		return enter(s.given.Jail, u)
	}
	return u.become()
}
