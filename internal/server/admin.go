package server

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"usher/internal/admin"
	"usher/internal/relay"
	"usher/internal/session"
)

// openAdmin opens the socket for commands. Where nobody has asked for it, usher
// goes on without one.
func (s *Server) openAdmin() error {
	path := string(s.house.Load().cfg.Server.Admin)
	if path == "" {
		return nil
	}
	a := &admin.Server{Path: path, Daemon: s, Log: s.log, Successor: s.heritage != nil}
	err := a.Start()
	switch {
	case err == nil:
		s.admin = a
	case s.house.Load().cfg.Has("server.admin"):
		return err
	default:
		s.log.Warn("no admin socket: usher who, kick, reload and the like do not work; name a place for it with admin in [server]", "err", err)
	}
	return nil
}

func (s *Server) closeAdmin() {
	if s.admin != nil {
		_ = s.admin.Close()
	}
}

// republish takes the names of the sockets back from a successor that failed.
func (s *Server) republish() {
	if s.admin == nil {
		return
	}
	if err := s.admin.Publish(); err != nil {
		s.log.Error("admin socket", "err", err)
	}
	if s.door != nil {
		s.closeDoor()
		s.openDoor()
	}
}

// Process implements admin.Daemon.
func (s *Server) Process() admin.Process {
	open, most := descriptors()
	var sources []admin.Source
	if s.current() != stopping { // who waits for the end asks again and again, but not for this
		sources = s.house.Load().status()
	}
	return admin.Process{
		PID: os.Getpid(), Version: s.Version, State: s.current().String(), Since: s.since,
		Sessions: s.sessions.Len(), Conversations: s.limits.Conversations(), Descriptors: open, DescriptorLimit: most,
		Relay: s.relays(), Alone: s.lacksSteward(), Sources: sources,
	}
}

// Sessions implements admin.Daemon.
func (s *Server) Sessions(which admin.Selector) (list []admin.Session) {
	all := s.sessions.List()
	if near, err := netip.ParseAddrPort(which.From); err == nil {
		near = netip.AddrPortFrom(near.Addr().Unmap(), near.Port())
		all, which.From = s.sessions.Behind(near), near.String() // as we write it
	}
	for _, one := range all {
		if a := describe(one); which.Matches(a) {
			list = append(list, a)
		}
	}
	return list
}

func describe(one *session.Session) admin.Session {
	backend, _, _ := strings.Cut(one.Target, "/")
	a := admin.Session{
		ID: one.ID.String(), User: one.Account, Protocol: one.Protocol, Remote: one.Remote.String(),
		Backend: backend, Target: one.Target, TLS: one.TLS, Since: one.Since, PID: os.Getpid(),
	}
	if one.Near.IsValid() {
		a.From = one.Near.String()
	}
	if one.Front != nil {
		a.Via, a.Ext = one.Front.String(), one.Front.Ext
	}
	return a
}

// Kick implements admin.Daemon. A session that is on its way to a successor is
// kicked where it arrives.
func (s *Server) Kick(which admin.Selector) (n int) {
	for _, one := range s.sessions.List() {
		if which.Matches(describe(one)) && (s.relay.Kick(uint64(one.ID), relay.Kicked) || s.kickLater(one.ID)) {
			n++
		}
	}
	return n
}

// kickLater notes a session to be kicked when it has moved. It returns false if
// none moves.
func (s *Server) kickLater(id session.ID) bool {
	if s.current() != retired {
		return false
	}
	s.kicking.Lock()
	defer s.kicking.Unlock()
	if s.missed == nil {
		s.missed = map[session.ID]bool{}
	}
	s.missed[id] = true
	return true
}

// Stop implements admin.Daemon.
func (s *Server) Stop(drain time.Duration) {
	if drain >= 0 {
		s.drains.Store(int64(drain))
	}
	s.stop(errStopped)
}

// errStopped ends a process that was told to by a command.
var errStopped = errors.New("stopped by a command")

// giveAdmin makes the folder of the admin socket, if it is missing, while we may,
// and gives it to the user that we become; so, too, one that systemd has made for us.
func (s *Server) giveAdmin(uid, gid int) error {
	path := string(s.house.Load().cfg.Server.Admin)
	if path == "" {
		return nil
	}
	made, err := admin.MakeFolder(path)
	ours := slices.Contains(strings.Split(os.Getenv("RUNTIME_DIRECTORY"), ":"), filepath.Dir(path))
	if err != nil || !made && !ours {
		return nil //nolint:nilerr // openAdmin will say what is wrong, if anybody has asked for it
	}
	return os.Chown(filepath.Dir(path), uid, gid)
}
