package server

import (
	"os"
	"syscall"
)

const (
	perClient = 2  // descriptors: its own socket and the one towards its server
	reserve   = 64 // for logs, account sources, commands and refusals
)

// measure finds out for how many clients there are descriptors. Package os has
// raised the limit as far as it may be already.
func (s *Server) measure() {
	open, most := descriptors()
	if most == 0 {
		return
	}
	free := most - open
	s.room = max(1, (free-min(reserve, free/4))/perClient)
	s.log.Info("room", "connections", s.room, "descriptors", most,
		"remedy", "for more raise LimitNOFILE in the unit, or ulimit -n")
}

// descriptors returns how many are open and how many may be. 0: unknown.
func descriptors() (open, most int) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, 0
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, int(min(l.Cur, 1<<30))
	}
	return len(list), int(min(l.Cur, 1<<30))
}
