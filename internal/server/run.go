package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"usher/internal/account"
	"usher/internal/auth"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/password"
	"usher/internal/relay"
	"usher/internal/sasl"
)

// goodbye is how long sessions may take to end once they are told to.
const goodbye = 5 * time.Second

// Run opens the ports and the account sources and serves until ctx ends. Then it
// stops accepting, lets open sessions go on for the grace period, and says
// goodbye to those that are left.
func (s *Server) Run(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	defer s.unlisten()
	if err := s.dropPrivileges(); err != nil {
		return err
	}
	if s.certs != nil {
		s.certs.current() // says now, not on the day of the renewal, if we may not read them any more
	}
	chain, err := s.openAccounts(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = chain.Close() }()
	if err := s.authenticate(chain); err != nil {
		return err
	}
	err = s.serve(ctx)
	s.drain()
	return err
}

// listen opens all ports, or none.
func (s *Server) listen(ctx context.Context) error {
	for i, l := range s.listeners {
		ln, err := listen.Own(ctx, s.addrs[i])
		if err != nil {
			s.unlisten()
			return err
		}
		l.Net = ln
	}
	return nil
}

func (s *Server) unlisten() {
	for _, l := range s.listeners {
		if l.Net != nil {
			_ = l.Net.Close()
		}
	}
}

// authenticate puts the account sources behind the desk.
func (s *Server) authenticate(d account.Directory) error {
	decoy, err := password.Make(password.Default, "nobody's")
	if err != nil {
		return err
	}
	a := auth.New(d, decoy)
	s.desk.Verifier = func(c *login.Client) sasl.Verifier {
		q := account.Query{Protocol: c.Protocol.Info().Name, Remote: c.Remote, Local: c.Local}
		if state := c.Conn.TLS(); state != nil {
			q.TLS, q.ServerName = true, state.ServerName
		}
		return a.Verifier(q, c.Terms.Domain)
	}
	return nil
}

// serve accepts until ctx ends or a listener fails.
func (s *Server) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.listeners))
	for i, l := range s.listeners {
		wg.Go(func() {
			if errs[i] = l.Serve(ctx); errs[i] != nil {
				cancel() // a server without one of its ports is broken: whoever supervises us shall know
			}
		})
	}
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Net.Addr()
		s.log.Info("listening", "protocol", l.Protocol.Info().Name, "addr", addrs[i].String(), "implicit_tls", l.Implicit)
	}
	if s.Ready != nil {
		s.Ready(addrs)
	}
	wg.Wait()
	return errors.Join(errs...)
}

// drain lets sessions end by themselves for a while, then ends them.
func (s *Server) drain() {
	grace := time.Duration(s.cfg.Server.Grace)
	if n := s.sessions.Len(); n > 0 {
		s.log.Info("stopping", "sessions", n, "grace", grace.String())
	}
	if s.waitForSessions(grace) {
		return
	}
	for _, left := range s.sessions.List() {
		s.relay.Kick(uint64(left.ID), relay.Shutdown)
	}
	s.waitForSessions(goodbye)
}

// waitForSessions returns true once there are none.
func (s *Server) waitForSessions(most time.Duration) bool {
	const look = 10 * time.Millisecond
	for end := time.Now().Add(most); s.sessions.Len() > 0; time.Sleep(look) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
