package relay

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A poller waits for sockets with an epoll instance of its own, in one of two ways.
// In company, while others run, it sleeps in Go's network poller, in which the epoll
// instance is a descriptor like any other: a goroutine that sleeps in epoll_wait takes
// a processor and a thread with it, which makes each login a quarter dearer. Alone it
// does just that: there is nobody to be in the way of, and Go's poller would make a
// lone question and answer dearer by half.
type poller struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []unix.EpollEvent
	ready  int                   // of events
	failed error                 // of epoll_wait
	take   func(fd uintptr) bool // polls without waiting; kept, so that it is made once
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
	p.take = func(uintptr) bool { return p.poll(0) }
	p.raw, err = p.file.SyscallConn()
	return err
}

// poll takes what is ready within so many milliseconds, -1 for ever, and tells
// whether there was anything.
func (p *poller) poll(most int) bool {
	p.ready, p.failed = unix.EpollWait(p.fd, p.events, most)
	if errors.Is(p.failed, unix.EINTR) {
		p.ready, p.failed = 0, nil
	}
	return p.ready > 0 || p.failed != nil
}

// wait returns what is ready. It waits for it until the time until at most, of
// which now is the present.
func (p *poller) wait(now, until int64, company bool) []unix.EpollEvent {
	p.ready = 0
	if company {
		p.sleepInCompany(now, until)
	} else {
		p.sleepAlone(now, until)
	}
	if p.failed != nil {
		panic("relay: epoll_wait: " + p.failed.Error())
	}
	return p.events[:p.ready]
}

func (p *poller) sleepInCompany(now, until int64) {
	if until != p.until {
		p.until = until
		var deadline time.Time
		if until != never {
			deadline = time.Now().Add(time.Duration(until - now))
		}
		_ = p.file.SetReadDeadline(deadline)
	}
	if err := p.raw.Read(p.take); errors.Is(err, os.ErrDeadlineExceeded) {
		p.poll(0)
	} else if err != nil {
		panic("relay: wait for epoll: " + err.Error())
	}
}

func (p *poller) sleepAlone(now, until int64) {
	most := -1
	if until != never {
		const ms = int64(time.Millisecond)
		most = int(min(max(until-now+ms-1, 0), int64(time.Minute)) / ms)
	}
	p.poll(most)
}
