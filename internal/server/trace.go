package server

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"usher/internal/admin"
	"usher/internal/trace"
)

// traceFolder holds what traces write, in the state folder. It is left to the
// administrator, who has asked for it.
const traceFolder = "trace"

// Trace implements admin.Daemon.
func (s *Server) Trace(w admin.Watch, length time.Duration) (admin.Trace, error) {
	o := trace.Order{
		User: w.User, Protocol: w.Protocol, For: length,
		Dir: filepath.Join(string(s.house.Load().cfg.Server.State), traceFolder),
	}
	if now := s.current(); now != serving {
		return admin.Trace{}, fmt.Errorf("this process does not trace: it is %s", now)
	}
	if w.Protocol != "" && protocol(w.Protocol) == nil {
		return admin.Trace{}, fmt.Errorf("there is no protocol %.40q to trace; leave it out for all", w.Protocol)
	}
	if w.User != "" {
		which := admin.Selector{User: w.User}
		o.Means = func(name string) bool { return which.Matches(admin.Session{User: name}) }
	} else {
		var err error
		if o.Network, err = parseNetwork(w.Network); err != nil {
			return admin.Trace{}, fmt.Errorf("%.80q is neither an address nor a network", w.Network)
		}
	}
	one, err := s.traces.Begin(o)
	return described(one), err
}

// Traces implements admin.Daemon.
func (s *Server) Traces() (list []admin.Trace) {
	for _, one := range s.traces.List() {
		list = append(list, described(one))
	}
	return list
}

// Untrace implements admin.Daemon.
func (s *Server) Untrace(which admin.Untrace) int {
	return s.traces.End(which.ID, "an administrator has ended it")
}

func described(one trace.Status) admin.Trace {
	a := admin.Trace{
		ID: one.ID, User: one.User, Protocol: one.Protocol, Until: one.Until, Folder: one.Folder,
		Conversations: one.Conversations, Bytes: one.Bytes, PID: os.Getpid(),
	}
	if one.Network.IsValid() {
		a.Network = one.Network.String()
	}
	return a
}
