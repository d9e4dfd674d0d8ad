package server

import (
	"syscall"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

const (
	perClient = 2  // descriptors: its own socket and the one towards its server
	reserve   = 96 // for logs, account sources, commands and refusals; the relay has its own
)

// measure finds out for how many clients there are descriptors. Package os has
// raised the limit as far as it may be already.
func (s *Server) measure() {
	open, most := descriptors()
	if most == 0 {
		return
	}
	free, kept := most-open, reserve+relay.Reserve(s.house.Load().cfg.Server.Relay, s.processors)
	s.room = max(1, (free-min(kept, free/4))/perClient)
	s.descriptors = most
}

// descriptors returns how many are open and how many may be; 0: unknown. It does
// not look into /proc, which is closed to who was root before.
func descriptors() (open, most int) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, 0
	}
	const gap = 1024 // the system gives the lowest number that is free
	for fd, last := 0, 0; fd < last+gap; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open++
			last = fd
		}
	}
	return open, int(min(l.Cur, 1<<30))
}
