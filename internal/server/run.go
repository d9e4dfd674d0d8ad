package server

import (
	"context"
	"errors"
	"fmt"
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
	engine, closeEngine, err := relay.Open(s.cfg.Server.Relay)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	defer func() { _ = closeEngine() }()
	s.desk.Relay = engine
	chain, err := s.openAccounts(ctx)
	if ctx.Err() != nil {
		return nil // told to stop before we began
	}
	if err != nil {
		return err
	}
	defer func() { _ = chain.Close() }()
	if err := s.authenticate(chain); err != nil {
		return err
	}
	return s.serve(ctx)
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

// serve accepts until ctx ends or a listener fails, and lets sessions end.
func (s *Server) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	aborted, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var wg sync.WaitGroup
	errs := make([]error, len(s.listeners))
	for i, l := range s.listeners {
		wg.Go(func() {
			if errs[i] = l.Serve(ctx, aborted); errs[i] != nil {
				stop() // a server without one of its ports is broken: whoever supervises us shall know
			}
		})
	}
	s.announce()
	<-ctx.Done()
	conversed := make(chan struct{})
	go func() { wg.Wait(); close(conversed) }()
	s.drain(conversed, abort)
	<-conversed
	return errors.Join(errs...)
}

// announce says where we listen.
func (s *Server) announce() {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Net.Addr()
		s.log.Info("listening", "protocol", l.Protocol.Info().Name, "addr", addrs[i].String(), "implicit_tls", l.Implicit)
	}
	if s.Ready != nil {
		s.Ready(addrs)
	}
}

// drain lets sessions, and logins on their way, end by themselves for a while.
// Then it ends them.
func (s *Server) drain(conversed <-chan struct{}, abort func()) {
	grace := time.Duration(s.cfg.Server.Grace)
	s.log.Info("stopping", "sessions", s.sessions.Len(), "grace", grace.String())
	if s.quiet(conversed, grace) {
		return
	}
	abort()
	s.dismiss()
	<-conversed // nobody can begin a session any more
	s.dismiss()
	s.quiet(conversed, goodbye)
}

func (s *Server) dismiss() {
	for _, left := range s.sessions.List() {
		s.desk.Relay.Kick(uint64(left.ID), relay.Shutdown)
	}
}

// quiet waits until nobody is left, and returns false if that takes too long.
func (s *Server) quiet(conversed <-chan struct{}, most time.Duration) bool {
	const look = 10 * time.Millisecond
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(look) {
		select {
		case <-conversed:
			if s.sessions.Len() == 0 {
				return true
			}
		default:
		}
	}
	return false
}
