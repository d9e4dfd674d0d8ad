package server

import "usher/internal/admin"

// A state is what the process is doing.
type state int32

const (
	starting state = iota
	serving
	retired  // was replaced, and keeps the sessions that cannot move
	stopping // for good
)

func (s state) String() string {
	return [...]string{"starting", admin.Serving, admin.Retired, admin.Stopping}[s]
}

func (s *Server) current() state { return state(s.state.Load()) }

// become changes the state, unless the process is ending already.
func (s *Server) become(next state) {
	for {
		now := s.state.Load()
		if state(now) == stopping || s.state.CompareAndSwap(now, int32(next)) {
			return
		}
	}
}
