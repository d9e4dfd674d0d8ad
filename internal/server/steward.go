package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"usher/internal/admin"
	"usher/internal/logs"
	"usher/internal/relay"
	"usher/internal/session"
	"usher/internal/steward"
)

// stewardAt is the socket of the relay process.
func stewardAt(h *house) string { return filepath.Join(string(h.cfg.Server.State), steward.File) }

// apart is the engine that gives sessions to the relay process, if there is to be one; else
// the process's own. A relay process that an earlier usher has left is asked for its
// sessions in any case. call is to it, if it was there when we had more power.
func (s *Server) apart(h *house, own relay.Engine, call *steward.Call) relay.Engine {
	t := steward.Terms{
		Socket: stewardAt(h), Local: own, Build: s.Build,
		Adopt: s.adoptSeated, Log: s.log, Logged: func() { logs.Settle(s.log) }, Early: call, Taken: s.robbed,
	}
	var err error
	if h.cfg.Server.RelayProcess {
		t.Program, err = os.Executable()
	}
	if err == nil {
		s.steward, err = steward.Open(t)
	}
	switch {
	case err == nil:
		return s.steward
	case h.cfg.Server.RelayProcess:
		s.log.Error("sessions stay in this process, and end with it", "err", err)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, errors.ErrUnsupported):
		s.log.Error("an earlier usher may have left sessions that are not seen here", "err", err)
	}
	s.steward = nil
	return own
}

// adoptSeated goes on with a session that another process has let in, and that the relay
// process has.
func (s *Server) adoptSeated(id uint64, note steward.Note) func(relay.Stats) {
	one, err := session.FromNote(session.ID(id), note)
	if err != nil {
		s.log.Error("the relay process has a session of which nothing is known", "id", session.ID(id).String(), "err", err)
		one = &session.Session{ID: session.ID(id)}
	}
	if s.coming.Load() > 0 {
		s.coming.Add(-1)
	}
	return s.house.Load().desk.Resume(one)
}

// robbed is when another usher has made the sessions its own. At an upgrade it is meant to.
func (s *Server) robbed() {
	s.life.Lock() // an upgrade that has begun ends first
	defer s.life.Unlock()
	if s.current() == serving && !s.steward.Leads() {
		s.log.Error("another usher has taken the sessions in the relay process: only one can have this state folder", "state", string(s.house.Load().cfg.Server.State),
			"remedy", "stop the other one, or give it a state folder of its own; then usher upgrade here takes them back")
	}
}

// leadSteward makes all sessions of the relay process ours.
func (s *Server) leadSteward() {
	if s.steward != nil {
		s.steward.Lead()
	}
}

// replaceSteward has the relay process run this version, too.
func (s *Server) replaceSteward() {
	if s.steward == nil || !s.house.Load().cfg.Server.RelayProcess {
		return
	}
	if err := s.steward.Replace(); err != nil {
		s.log.Error("the relay process stays what it was", "err", err)
	}
}

// leaveSteward lets its sessions go on without us.
func (s *Server) leaveSteward() {
	if s.steward != nil {
		for _, r := range s.relays() {
			if r.Sessions > 0 {
				s.log.Info("sessions go on in the relay process: the next usher finds them there; who wants them to end ends that process (SIGTERM)", "pid", r.PID, "sessions", r.Sessions)
			}
		}
		s.steward.Leave()
	}
}

func (s *Server) closeSteward() {
	if s.steward != nil {
		s.steward.Close()
	}
}

// relays are the relay processes, for usher status.
func (s *Server) relays() (list []admin.Relay) {
	if s.steward == nil {
		return nil
	}
	for _, r := range s.steward.Relays() {
		list = append(list, admin.Relay{PID: r.PID, Version: r.Build, State: r.State, Sessions: r.Sessions})
	}
	return list
}

// lacksSteward tells whether sessions would be lost with this process, and were not to be.
func (s *Server) lacksSteward() bool {
	return s.current() == serving && s.house.Load().cfg.Server.RelayProcess && len(s.relays()) == 0
}
