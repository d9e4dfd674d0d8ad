package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"usher/internal/account"
	"usher/internal/config"
	"usher/internal/listen"
	"usher/internal/relay"
)

// Given is what another program has opened for us: inetd, systemd, Postfix, ssh.
type Given struct {
	listen.Wanted
	Ports  []*net.TCPListener // to be served until they are idle …
	Client net.Conn           // … or one client
	User   string             // who the client is, without having shown it; "": it will
	UID    uint32             // of who says so
	Idle   time.Duration      // how long ports are waited at for a client; 0: for ever
	Most   int                // how many clients are taken; 0: any number
	Jail   string             // where we are to live, when all is open; "": wherever we are
	Owner  string             // whom to become if the usual user does not exist; ""
	Gone   <-chan struct{}    // closed when who has started us wants no more of us; it may be nil
	Taken  func() error       // is told that another process is to take the next client; it may be nil
	Free   func()             // … and that we take it ourselves
}

// Attend serves clients that another program has accepted, or that come to its ports, and
// returns when they are gone. It opens no ports of its own, and leaves the sockets, and
// the files that an usher in the background keeps, alone.
func (s *Server) Attend(ctx context.Context, g Given) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	aborted, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	s.stop, s.accepting, s.aborted, s.another = stop, ctx, aborted, g.Owner
	h := s.house.Load()
	if h.lobby[g.Wanted] == nil {
		return noService(g.Protocol, g.TLS)
	}
	defer s.closeHelper()
	closeEngine, err := s.moveIn(ctx, h, g)
	if err != nil {
		return err
	}
	defer closeEngine()
	defer func() { s.house.Load().close() }()
	ended := s.watchSessions(h)
	s.measure()
	s.setBounds()
	s.lobby.Use(h.lobby)
	s.become(serving)
	if g.Client != nil {
		s.lobby.Take(ctx, aborted, g.Wanted, g.guest(h.cfg))
		s.seeOff(ctx, ended)
	} else {
		s.keep(g).run(ctx)
	}
	if ctx.Err() != nil || s.sessions.Len() > 0 {
		stop(errStopped)
		s.leave(abort)
	}
	return nil
}

// guest is the one client.
func (g Given) guest(cfg *config.Config) listen.Guest {
	_, tcp := g.Client.(*net.TCPConn)
	return listen.Guest{Conn: g.Client, Neighbour: !tcp, Known: g.known(cfg)}
}

// moveIn becomes who we are to be, and opens what stands behind the door. In a jail there
// is nothing to be opened: there it is done before.
func (s *Server) moveIn(ctx context.Context, h *house, g Given) (closeEngine func(), err error) {
	if err := s.openHelper(nil); err != nil {
		return nil, err
	}
	next, err := s.nextUser()
	if err != nil {
		return nil, err
	}
	if g.Jail == "" {
		if err := next.become(); err != nil {
			return nil, err
		}
	} else if err := h.fitsJail(g.Jail); err != nil {
		return nil, err
	}
	engine, closing, err := relay.Open(h.cfg.Server.Relay)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	s.relay, h.desk.Relay = engine, engine
	if err := h.open(ctx, s.log, s.processors); err != nil {
		return nil, errors.Join(err, closing())
	}
	s.borrow(h, g.Jail == "")
	if g.Jail != "" {
		if err := s.lockUp(h, next, g.Jail); err != nil {
			h.close()
			return nil, errors.Join(err, closing())
		}
	}
	for _, ln := range g.Ports { // a login must not be taken back to one of them
		s.ports.add(listeners{ln.Addr().String(): {&listen.Listener{Net: ln, Log: s.log}}})
	}
	return func() { _ = closing() }, nil
}

// borrow takes what an usher in the background keeps, and leaves it as it is. Before we
// are in a jail we are not who may read all of it.
func (s *Server) borrow(h *house, all bool) {
	s.keepSalt(h)
	s.keepTokenKey(h)
	if all {
		h.borrowTickets()
		h.eachCache((*account.Cache).Restore)
	}
}

// seeOff waits until the one client is gone, or for ctx.
func (s *Server) seeOff(ctx context.Context, ended <-chan struct{}) {
	conversed := make(chan struct{})
	go func() { s.lobby.Close(); s.lobby.Wait(); close(conversed) }()
	select {
	case <-conversed:
	case <-ctx.Done():
		return
	}
	for s.sessions.Len() > 0 {
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// watchSessions returns what tells that a session has ended.
func (s *Server) watchSessions(h *house) <-chan struct{} {
	w := watched{s.relay, make(chan struct{}, 1)}
	h.desk.Relay = w
	return w.ended
}

// watched is an engine that tells of the end of sessions.
type watched struct {
	relay.Engine
	ended chan struct{}
}

func (w watched) Start(p relay.Pair, done func(relay.Stats)) {
	w.Engine.Start(p, func(st relay.Stats) {
		done(st)
		select {
		case w.ended <- struct{}{}:
		default: // it has been told of another one
		}
	})
}

// keep is who watches over the ports.
func (s *Server) keep(g Given) *keeper {
	return &keeper{
		Given: g, log: s.log, holds: true, stay: time.Duration(s.house.Load().cfg.Server.Retire),
		take: func(nc net.Conn) error {
			if !s.lobby.Take(s.accepting, s.aborted, g.Wanted, listen.Guest{Conn: nc}) {
				return errNoMore
			}
			return nil
		},
		busy: s.busy, away: func(nc net.Conn) { _ = nc.Close() },
	}
}

var errNoMore = errors.New("no more clients are taken")
