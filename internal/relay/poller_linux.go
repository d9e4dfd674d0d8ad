package relay

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A poller waits for sockets with an epoll instance of its own. It sleeps in Go's
// network poller, in which the epoll instance is a descriptor like any other: a
// goroutine that slept in epoll_wait would take a processor and a thread with it, and
// wake Go's watchdog thread each time it wakes itself.
type poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []unix.EpollEvent
	ready  int                   // of events
	failed error                 // of epoll_wait
	take   func(fd uintptr) bool // poll, kept: a method value is made anew each time
	until  int64                 // the deadline that is set
}

func (p *poller) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(fd, true) // so that Go's poller takes it; epoll itself does not look at it
	p.fd, p.file = fd, os.NewFile(uintptr(fd), "epoll")
	p.events = make([]unix.EpollEvent, batch)
	p.until = never
	p.take = p.poll
	p.raw, err = p.file.SyscallConn()
	return err
}

// poll takes what is ready now, and tells whether there was anything.
func (p *poller) poll(uintptr) bool {
	p.ready, p.failed = unix.EpollWait(p.fd, p.events, 0)
	if errors.Is(p.failed, unix.EINTR) {
		p.ready, p.failed = 0, nil
	}
	return p.ready > 0 || p.failed != nil
}

// wait returns what is ready. It waits for it until the time until at most, which
// is counted from began.
func (p *poller) wait(began time.Time, until int64) []unix.EpollEvent {
	if until != p.until {
		p.until = until
		var deadline time.Time
		if until != never {
			deadline = began.Add(time.Duration(until))
		}
		_ = p.file.SetReadDeadline(deadline)
	}
	p.ready = 0
	if err := p.raw.Read(p.take); errors.Is(err, os.ErrDeadlineExceeded) {
		p.poll(0)
	} else if err != nil {
		panic("relay: wait for epoll: " + err.Error())
	}
	if p.failed != nil {
		panic("relay: epoll_wait: " + p.failed.Error())
	}
	return p.events[:p.ready]
}
