package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"usher/internal/handover"
	"usher/internal/listen"
	"usher/internal/relay"
	"usher/internal/steward"
	"usher/internal/systemd"
	"usher/internal/thrift"
)

// goodbye is how long sessions may take to end once they are told to.
const goodbye = 5 * time.Second

// Run opens the ports and the account sources and serves until ctx ends. Then it
// stops accepting, lets open sessions go on for the grace period, and says
// goodbye to those that are left. After Upgrade it returns when the last session
// that could not move has ended.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	aborted, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	s.stop, s.accepting, s.aborted = stop, ctx, aborted

	past, err := s.inherit(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before we began
		}
		return err
	}
	defer s.disown()
	h := s.house.Load()
	opened, err := s.listen(ctx, h)
	if err != nil {
		return err
	}
	s.ports.add(opened)
	defer s.ports.close()
	if err := s.openHelper(past); err != nil {
		return err
	}
	defer s.closeHelper()
	call := steward.Dial(stewardAt(h))
	if err := s.dropPrivileges(); err != nil {
		call.Hang()
		return err
	}
	engine, closeEngine, err := relay.Open(h.cfg.Server.Relay)
	if err != nil {
		call.Hang()
		return fmt.Errorf("relay: %w", err)
	}
	defer func() { _ = closeEngine() }()
	s.relay = s.apart(h, engine, call)
	h.desk.Relay = s.relay
	defer s.closeSteward()
	if err := h.open(ctx, s.log, s.processors); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before we began
		}
		return err
	}
	defer func() { s.house.Load().close() }()
	if err := s.openAdmin(); err != nil {
		return err
	}
	defer s.traces.Close()
	defer s.closeAdmin()
	s.begin(opened)
	<-ctx.Done()
	s.leave(abort)
	return failure(context.Cause(ctx))
}

// errReplaced ends a process whose sessions are gone, or go on elsewhere.
var errReplaced = errors.New("replaced")

// failure is what Run returns when it stopped for this reason: nothing if it was
// told to.
func failure(why error) error {
	if errors.Is(why, context.Canceled) || errors.Is(why, errReplaced) || errors.Is(why, errStopped) {
		return nil
	}
	return why
}

// inherit takes the sockets that others have opened for us: the process that we
// replace, or systemd. From the former there may be a helper, too.
func (s *Server) inherit(ctx context.Context) (*handover.Helper, error) {
	heritage, err := handover.Predecessor()
	if err != nil {
		return nil, err
	}
	if heritage != nil {
		s.heritage = heritage
		defer context.AfterFunc(ctx, heritage.Leave)() // a predecessor that hangs does not keep us
		all, err := heritage.Take()
		s.sockets = all.Ports
		s.coming.Store(int64(all.Sessions))
		return all.Helper, err
	}
	s.alone.Store(true)
	list, err := systemd.Sockets()
	for _, one := range list {
		s.sockets = append(s.sockets, handover.Port{Name: fromSystemd + one.Name, Listener: one.Listener})
	}
	return nil, err
}

// disown closes what was inherited and nobody has taken.
func (s *Server) disown() {
	s.sockets.close()
	if s.heritage != nil {
		s.heritage.Close()
	}
}

// begin lets clients in.
func (s *Server) begin(opened listeners) {
	_ = thrift.WatchRarely() // else all costs more
	s.measure()
	s.log.Info("room", "connections", s.room, "descriptors", s.descriptors, "remedy", "for more raise LimitNOFILE in the unit, or ulimit -n")
	s.setBounds()
	s.keepTickets(s.house.Load())
	s.house.Load().restore(s.log)
	s.keepSalt(s.house.Load())
	s.keepTokenKey(s.house.Load())
	s.builds.Own, s.house.Load().desk.Build = s.Build, s.Build
	s.use(s.house.Load())
	if s.heritage == nil {
		s.leadSteward()
	}
	s.serve(opened)
	s.house.Load().meet()
	s.openDoor()
	s.announce()
	s.listening.Go(func() { s.tell.Watch(s.accepting, s.alive) })
	s.listening.Go(func() { thrift.Govern(s.accepting, s.processors) })
	s.listening.Go(func() { thrift.TidyUp(s.accepting) })
	if s.heritage != nil {
		s.succeed()
	}
	s.tell.Ready("serving")
}

// serve accepts on ports that were opened.
func (s *Server) serve(opened listeners) {
	for _, list := range opened {
		for _, l := range list {
			s.listening.Go(func() {
				if err := l.Serve(s.accepting, s.aborted); err != nil {
					s.stop(err) // a server without one of its ports is broken: whoever supervises us shall know
				}
			})
		}
	}
}

// use lets the clients that come next into a house.
func (s *Server) use(h *house) {
	for _, v := range h.services {
		for _, l := range s.ports.of(v) {
			l.Use(v.Service)
		}
	}
	s.lobby.Use(h.lobby)
}

// announce says where we listen.
func (s *Server) announce() {
	var addrs []net.Addr
	for _, v := range s.house.Load().services {
		for _, l := range s.ports.of(v) {
			addrs = append(addrs, l.Net.Addr())
			s.logPort(v, l)
		}
	}
	for _, left := range s.sockets {
		s.log.Warn("a socket that we were given is not used: name its address in [[listen]], or take it away", "name", left.Name, "addr", left.Listener.Addr().String())
	}
	s.become(serving)
	if s.Ready != nil {
		s.Ready(addrs)
	}
}

func (s *Server) logPort(v service, l *listen.Listener) {
	s.log.Info("listening", "protocol", v.Protocol.Info().Name, "addr", l.Net.Addr().String(), "implicit_tls", v.Implicit)
}

// alive tells systemd's watchdog whether sessions are served: the relay answers
// a question about one that does not exist.
func (s *Server) alive() bool {
	s.relay.Kick(0, relay.Kicked)
	return true
}

// grace is how long open sessions may go on after a stop.
func (s *Server) grace() time.Duration {
	if d := s.drains.Load(); d >= 0 {
		return time.Duration(d)
	}
	return time.Duration(s.house.Load().cfg.Server.Grace)
}

// leave lets sessions, and logins on their way, end by themselves for a while.
// Then it ends them.
func (s *Server) leave(abort func()) {
	why, grace := relay.Shutdown, s.grace()
	if errors.Is(context.Cause(s.accepting), errReplaced) {
		why = relay.Upgraded
	}
	if !errors.Is(context.Cause(s.accepting), errStopped) {
		s.leaveSteward()
	}
	s.tell.Stopping(grace + 2*goodbye)
	s.become(stopping)
	s.life.Lock() // a reload or an upgrade that has begun ends first, and no other begins
	s.closeDoor()
	s.life.Unlock()
	conversed := make(chan struct{})
	go func() { s.listening.Wait(); s.lobby.Wait(); close(conversed) }()
	s.log.Info("stopping", "sessions", s.sessions.Len(), "grace", grace.String())
	if !s.quiet(conversed, grace) {
		abort()
		s.dismiss(why)
		<-conversed // nobody can begin a session any more
		s.dismiss(why)
		s.quiet(conversed, goodbye)
	}
	<-conversed
}

// dismiss ends all sessions.
func (s *Server) dismiss(why relay.Ending) {
	for _, left := range s.sessions.List() {
		s.relay.Kick(uint64(left.ID), why)
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
