package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"usher/internal/handover"
	"usher/internal/relay"
	"usher/internal/session"
	"usher/internal/systemd"
)

const (
	upgradeTime = time.Minute           // for the new process to be ready
	lookForRest = 50 * time.Millisecond // between looks at what is left
	seldom      = 5 * time.Second       // at most, between attempts to move what was not at rest
)

// Upgrade has a new process of the program on disk take over: first the ports,
// then, one by one, the sessions that are at rest. If it does not come up this process
// goes on as if nothing had happened. Sessions under TLS 1.2 stay here until they end or
// [server] retire is over: crypto/tls does not give their keys away.
func (s *Server) Upgrade(context.Context) (pid int, err error) {
	s.life.Lock()
	defer s.life.Unlock()
	s.log.Info("upgrade begins", "sessions", s.sessions.Len())
	next, err := s.hire()
	if err == nil {
		err = s.handOver(next)
	}
	if err != nil {
		s.log.Error("upgrade failed: this process goes on", "err", err)
		return 0, fmt.Errorf("upgrade: %w", err)
	}
	return next.PID, nil
}

// hire starts a successor and returns it when it accepts clients.
func (s *Server) hire() (*handover.Successor, error) {
	switch {
	case len(s.Again) == 0:
		return nil, errors.New("this process cannot be replaced: it is not known how it was started")
	case s.current() != serving:
		return nil, fmt.Errorf("this process cannot be replaced: it is %s", s.current())
	case !s.alone.Load():
		return nil, errors.New("this process is still taking over from the one before it: try again in a moment")
	}
	helper, err := s.bequest()
	if err != nil {
		return nil, err
	}
	defer helper.Close()
	next, err := handover.Start(s.Again[0], s.Again[1:], systemd.ChildEnv(os.Environ()))
	if err != nil {
		return nil, err
	}
	if err := next.Give(s.accepting, handover.Inventory{Ports: append(s.ports.give(), s.sockets...), Sessions: s.sessions.Len(), Helper: helper}, upgradeTime); err != nil {
		s.republish() // the successor may have taken the admin socket
		return nil, err
	}
	return next, nil
}

// handOver leaves clients to the successor and gives it the sessions that can move
// now. If it fails before it serves any, this process takes everything back.
func (s *Server) handOver(next *handover.Successor) error {
	s.ports.suspend()
	s.closeDoor()
	s.become(retired)
	s.house.Load().rest() // the files are the successor's now
	s.tell.MainPID(next.PID)
	s.log.Info("replaced by a new process", "pid", next.PID)
	if s.heritage != nil {
		s.heritage.Leave() // who comes late from the process before us stays there
		s.adopting.Wait()
	}
	moved, err := s.moveAll(next)
	if err == nil {
		err = next.Alone()
	}
	if err != nil && (moved == 0 || next.Failed()) {
		s.unretire(next)
		return fmt.Errorf("the new process failed: %w", err)
	}
	s.ports.close()
	s.house.Load().part() // other nodes come to the successor
	s.traces.End("", "usher was upgraded: nobody new comes to this process")
	s.listening.Go(func() { s.retire(next, err) })
	return nil
}

// retire waits until the sessions that are left have ended or moved. If moving
// them has failed before, those that are left stay.
func (s *Server) retire(next *handover.Successor, failed error) {
	defer next.Finish()
	if failed != nil {
		s.stay(next, failed)
	}
	s.empty(next, failed == nil)
	s.drains.CompareAndSwap(-1, 0) // they had their time
	s.stop(errReplaced)
}

// stay gives up moving sessions. The successor serves those that it has.
func (s *Server) stay(next *handover.Successor, err error) {
	s.log.Warn("the new process takes no more sessions: those that are left stay here", "sessions", s.sessions.Len(), "err", err)
	next.Finish()
}

// empty waits until the last session has ended or moved, for as long as a process
// that was replaced may stay. It tries to move them ever more seldom: under TLS are
// thousands that never can.
func (s *Server) empty(next *handover.Successor, takes bool) {
	over := time.Now().Add(time.Duration(s.house.Load().cfg.Server.Retire))
	tried, wait := time.Now(), lookForRest
	for ; s.busy() && time.Now().Before(over) && s.accepting.Err() == nil; time.Sleep(lookForRest) {
		if next.Failed() && s.tell.Supervised() {
			s.outlived(next.PID)
			return
		}
		if !takes || time.Since(tried) < wait {
			continue
		}
		if _, err := s.moveAll(next); err != nil {
			takes = false
			s.stay(next, err)
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

// unretire goes on when the successor has failed before it served any session.
func (s *Server) unretire(next *handover.Successor) {
	next.Abandon()
	s.state.CompareAndSwap(int32(retired), int32(serving))
	s.house.Load().keep(s.log)
	s.ports.resume()
	s.tell.MainPID(os.Getpid())
	s.republish()
	s.openDoor()
	s.leadSteward()
}

// moveAll moves the sessions that can move now, and returns how many have moved.
func (s *Server) moveAll(next *handover.Successor) (n int, err error) {
	for _, one := range s.sessions.List() {
		if s.steward != nil && s.steward.Has(uint64(one.ID)) {
			continue // it moves by itself: the successor finds it there
		}
		pair, done, ok := s.relay.Release(uint64(one.ID))
		if !ok {
			continue
		}
		moved, err := next.Move(handover.Session{Session: *one, Pair: pair})
		if moved {
			n++
			_, _ = pair.Client.Conn.Close(), pair.Server.Conn.Close()
			pair.Wipe()
			done(relay.Stats{ID: pair.ID, Ended: relay.Moved})
		} else {
			s.relay.Start(pair, done)
		}
		s.kickMoving(one.ID, moved, next)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// kickMoving kicks a session for which an administrator asked while it was on its
// way, and in no relay.
func (s *Server) kickMoving(id session.ID, moved bool, next *handover.Successor) {
	s.kicking.Lock()
	defer s.kicking.Unlock()
	if !s.missed[id] {
		return
	}
	delete(s.missed, id)
	if moved {
		_ = next.Kick(id)
	} else {
		s.relay.Kick(uint64(id), relay.Kicked)
	}
}

// succeed takes over from the predecessor, which stops accepting now. If it is
// gone already we stand alone.
func (s *Server) succeed() {
	err := s.heritage.Ready()
	s.leadSteward()
	s.listening.Go(s.replaceSteward)
	if err != nil {
		s.log.Warn("the process before us is gone, with the sessions that it had", "err", err)
		s.stands(0)
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
	err := s.heritage.Adopt(handover.Adoption{
		Session: func(one handover.Session) {
			n++
			s.coming.Add(-1)
			s.house.Load().desk.Adopt(&one.Session, one.Pair)
			s.setBounds()
		},
		Kick:   func(id session.ID) { s.relay.Kick(uint64(id), relay.Kicked) },
		Stands: func() { s.stands(n) },
	})
	if err != nil {
		s.log.Error("cannot take over more sessions: they stay in the process before us", "err", err)
	}
	if !s.alone.Load() {
		s.stands(n) // whatever became of the predecessor
	}
}

// stands is when nobody else has our ports any more.
func (s *Server) stands(sessions int) {
	s.coming.Store(0)
	s.setBounds()
	s.alone.Store(true)
	s.log.Info("took over", "sessions", sessions)
}
