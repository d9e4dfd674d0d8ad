package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"usher/internal/handover"
	"usher/internal/relay"
	"usher/internal/systemd"
)

const (
	upgradeTime = time.Minute           // for the new process to be ready
	lookForRest = 50 * time.Millisecond // between looks at what is left
	seldom      = 5 * time.Second       // at most, between attempts to move what was not at rest
)

// Upgrade has a new process of the program on disk take over: first the ports,
// then, one by one, the plain sessions that are at rest. If it does not come up
// this process goes on as if nothing had happened. Sessions under TLS stay here
// until they end or [server] retire is over: their keys cannot leave the process.
func (s *Server) Upgrade(context.Context) (pid int, err error) {
	s.life.Lock()
	defer s.life.Unlock()
	s.log.Info("upgrade begins", "sessions", s.sessions.Len())
	next, err := s.hire()
	if err != nil {
		s.log.Error("upgrade failed: this process goes on", "err", err)
		return 0, fmt.Errorf("upgrade: %w", err)
	}
	s.ports.suspend()
	s.become(retired)
	s.tell.MainPID(next.PID)
	s.log.Info("replaced by a new process", "pid", next.PID)
	s.listening.Go(func() { s.retire(next) })
	return next.PID, nil
}

// hire starts a successor and returns it when it accepts clients.
func (s *Server) hire() (*handover.Successor, error) {
	switch {
	case len(s.Again) == 0 || s.current() != serving:
		return nil, fmt.Errorf("this process cannot be replaced: it is %s", s.current())
	case !s.alone.Load():
		return nil, errors.New("this process is still taking over from the one before it: try again in a moment")
	}
	next, err := handover.Start(s.Again[0], s.Again[1:], systemd.ChildEnv(os.Environ()))
	if err != nil {
		return nil, err
	}
	if err := next.Give(s.accepting, s.ports.give(), upgradeTime); err != nil {
		s.republish() // the successor may have taken the admin socket
		return nil, err
	}
	return next, nil
}

// retire gives the successor what can move and waits for the rest to end.
func (s *Server) retire(next *handover.Successor) {
	defer next.Finish()
	if s.heritage != nil {
		s.heritage.Leave() // who comes late from the process before us stays there
		s.adopting.Wait()
	}
	if err := errors.Join(s.moveAll(next), next.Alone()); err != nil {
		s.unretire(next, err)
		return
	}
	s.ports.close()
	s.empty(next)
	s.drains.CompareAndSwap(-1, 0) // they had their time
	s.stop(errReplaced)
}

// empty waits until the last session has ended or moved, for as long as a process
// that was replaced may stay. It tries to move them ever more seldom: under TLS are
// thousands that never can.
func (s *Server) empty(next *handover.Successor) {
	over := time.Now().Add(time.Duration(s.house.Load().cfg.Server.Retire))
	tried, wait, takes := time.Now(), lookForRest, true
	for ; s.busy() && time.Now().Before(over) && s.accepting.Err() == nil; time.Sleep(lookForRest) {
		if next.Failed() && s.tell.Supervised() {
			s.outlived(next.PID)
			return
		}
		if !takes || time.Since(tried) < wait {
			continue
		}
		if err := s.moveAll(next); err != nil {
			takes = false
			s.log.Warn("the new process takes no more sessions: those that are left stay here", "sessions", s.sessions.Len(), "err", err)
		}
		tried, wait = time.Now(), min(2*wait, seldom)
	}
}

// outlived ends this process when its successor has crashed: systemd would wait
// for the watchdog while we live, and nobody could log in.
func (s *Server) outlived(pid int) {
	s.log.Error("the process that has replaced this one crashed: so that systemd starts usher again, this one ends, too", "pid", pid)
	s.tell.MainPID(os.Getpid())
	s.drains.CompareAndSwap(-1, 0)
	s.stop(fmt.Errorf("the process that has replaced this one, %d, crashed", pid))
}

func (s *Server) busy() bool { return s.sessions.Len() > 0 || s.limits.Conversations() > 0 }

// unretire goes on when the successor has failed before it stood alone.
func (s *Server) unretire(next *handover.Successor, err error) {
	s.life.Lock()
	defer s.life.Unlock()
	s.log.Error("the new process failed: this one goes on", "err", err)
	next.Abandon()
	s.state.CompareAndSwap(int32(retired), int32(serving))
	s.ports.resume()
	s.tell.MainPID(os.Getpid())
	s.republish()
}

// moveAll moves the sessions that can move now.
func (s *Server) moveAll(next *handover.Successor) error {
	for _, one := range s.sessions.List() {
		pair, done, ok := s.relay.Release(uint64(one.ID))
		if !ok {
			continue
		}
		moved, err := next.Move(handover.Session{Session: *one, Pair: pair})
		if moved {
			_, _ = pair.Client.Conn.Close(), pair.Server.Conn.Close()
			done(relay.Stats{Ended: relay.Moved})
		} else {
			s.relay.Start(pair, done)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// succeed takes over from the predecessor, which stops accepting now.
func (s *Server) succeed() {
	if err := s.heritage.Ready(); err != nil {
		s.stop(fmt.Errorf("the running usher does not hand over: %w", err))
		return
	}
	s.adopting.Go(s.adopt)
	s.listening.Go(s.adopting.Wait)
}

// adopt goes on with the sessions that the predecessor passes on.
func (s *Server) adopt() {
	defer s.heritage.Close()
	defer context.AfterFunc(s.accepting, s.heritage.Leave)()
	n := 0
	err := s.heritage.Adopt(func(one handover.Session) {
		n++
		s.house.Load().desk.Adopt(&one.Session, one.Pair)
	}, func() {
		s.alone.Store(true)
		s.log.Info("took over", "sessions", n)
	})
	if err != nil {
		s.log.Error("cannot take over more sessions: they stay in the process before us", "err", err)
	}
	s.alone.Store(true) // whatever became of the predecessor
}
