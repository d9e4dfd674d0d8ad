package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"usher/internal/config"
	"usher/internal/limit"
)

// Reload reads the configuration again and goes on by it: all of it, or, if there
// is anything wrong with it, by the old one. Nobody is disconnected; clients that
// have not logged in yet finish by the old one.
func (s *Server) Reload(ctx context.Context) error {
	err := s.reload(ctx)
	if err != nil {
		s.log.Error("configuration not reloaded: everything stays as it was", "err", err)
	}
	return err
}

func (s *Server) reload(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	switch {
	case s.Load == nil:
		return errors.New("this process has no configuration file to read again")
	case s.current() != serving:
		return fmt.Errorf("this process does not reload: it is %s", s.current())
	}
	s.tell.Reloading()
	defer s.tell.Ready("serving")
	cfg, err := s.Load()
	if err != nil {
		return err
	}
	next, err := s.build(cfg)
	if err != nil {
		return err
	}
	next.desk.Relay = s.relay
	if err := next.open(ctx, s.log, s.processors); err != nil {
		return err
	}
	opened, err := s.listen(ctx, next)
	if err != nil {
		next.close()
		return err
	}
	s.replace(next, opened)
	return nil
}

// replace lets clients into the next house instead of the present one.
func (s *Server) replace(next *house, opened listeners) {
	old := s.house.Swap(next)
	s.notReloaded(old.cfg.Server, next.cfg.Server)
	s.notResealed(next)
	s.setBounds()
	s.keepTickets(next)
	s.bequeath(old, next)
	s.keepSalt(next)
	s.keepTokenKey(next)
	old.bequeathTokens(next)
	s.ports.add(opened)
	s.use(next)
	old.part()
	next.meet()
	s.serve(opened)
	for _, l := range s.ports.keep(next.services) {
		s.log.Info("no longer listening", "addr", l.Net.Addr().String())
	}
	for _, v := range next.services {
		for _, l := range opened[v.port] {
			s.logPort(v, l)
		}
	}
	s.listening.Go(func() { s.abandon(old) })
	s.log.Info("configuration reloaded", "sessions", s.sessions.Len())
}

// notReloaded says which settings of [server] wait for a restart.
func (s *Server) notReloaded(was, is config.Server) {
	for _, c := range []struct{ key, was, is, when string }{
		{"state", string(was.State), string(is.State), "restart"}, // the sources have it already, the tickets have not
		{"admin", string(was.Admin), string(is.Admin), "restart or usher upgrade"},
		{"user", was.User, is.User, "restart"},
		{"relay", was.Relay, is.Relay, "restart or usher upgrade"},
		{"relay_process", strconv.FormatBool(was.RelayProcess), strconv.FormatBool(is.RelayProcess), "restart or usher upgrade"},
		{"log", was.Log, is.Log, "restart or usher upgrade"},
	} {
		if c.was != c.is {
			s.log.Warn("a change in [server] waits for a restart", "key", c.key, "was", c.was, "is", c.is, "remedy", c.when)
		}
	}
}

// free is for how many connections there is room, besides those of sessions that
// are still to come from the process before us; 0: no bound.
func (s *Server) free() int {
	if s.room == 0 {
		return 0
	}
	return max(1, s.room-int(s.coming.Load()))
}

// setBounds sets how much may be open at once.
func (s *Server) setBounds() {
	h := s.house.Load()
	s.limits.Set(h.bounds(s.free()))
	s.penalties.Set(h.terms(s.free()))
}

func (h *house) bounds(room int) limit.Bounds {
	l := h.cfg.Limit
	return limit.Bounds{
		Connections: room, Logins: l.Logins, LoginsPerAddress: l.LoginsPerAddress, LoginsPerMinute: l.LoginsPerMinute,
		SessionsPerUser: l.SessionsPerUser, SessionsPerUserAddress: l.SessionsPerUserAddress, SessionsPerAddress: l.SessionsPerAddress,
		Networks: h.networks,
	}
}
