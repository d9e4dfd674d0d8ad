package spawn

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A program should end when its session does, and most do at once. One that does not
// is asked to, and then ended.
const (
	usualLinger = 5 * time.Minute // so much it may still have to do
	lastWarning = 10 * time.Second
)

// A lobby knows which clients have left. It has a descriptor for the program's end of
// each session, which hangs up when the client's is closed; nothing is read from it.
type lobby struct{ epoll int }

func newLobby() (*lobby, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &lobby{fd}, err
}

// watch begins to look after the session of a program.
func (l *lobby) watch(session, pid int) (end int, err error) {
	end, err = unix.FcntlInt(uintptr(session), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// No events are asked for: that it hangs up is always told.
	err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, end, &unix.EpollEvent{Events: unix.EPOLLET, Fd: int32(pid)})
	return end, err
}

// attendTo begins to look after the session of a program, if that has not ended. Without
// it the program must end by itself.
func (w *worker) attendTo(c *child, session int) {
	w.mu.Lock() // so that attend finds it
	defer w.mu.Unlock()
	if w.children[c.pid] == c {
		c.end, _ = w.lobby.watch(session, c.pid)
	}
}

// leave ends watching; only then the client sees the end of a program that is gone.
func (l *lobby) leave(end int) {
	if end >= 0 {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, end, nil)
		_ = unix.Close(end)
	}
}

// attend has programs end whose clients have left.
func (w *worker) attend() {
	left := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(w.lobby.epoll, left, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, e := range left[:max(n, 0)] {
			w.mu.Lock()
			c := w.children[int(e.Fd)]
			gone := c != nil && c.end >= 0 && hungUp(c.end) // its number may have been another's a moment ago
			w.mu.Unlock()
			if gone {
				go w.dismiss(c)
			}
		}
	}
}

// dismiss waits for a program to end, asks it to, and ends it.
func (w *worker) dismiss(c *child) {
	patience := w.policy.Limits.Linger
	if patience <= 0 {
		patience = usualLinger
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		wait := time.NewTimer(patience)
		select {
		case <-c.ended:
			wait.Stop()
			return
		case <-wait.C:
		}
		w.end(c, sig)
		patience = min(patience, lastWarning)
	}
}

// end sends a signal to a program and what it has started, unless it has ended: its
// number could be somebody else's.
func (w *worker) end(c *child, sig unix.Signal) {
	w.bury.RLock()
	defer w.bury.RUnlock()
	select {
	case <-c.ended:
	default:
		_ = w.actor.kill(c.pid, c.uid, sig)
	}
}

// outlast waits for the programs whose clients have left: they may be those that do not
// end by themselves, and usher, with all its sessions, may have ended. So, too, for children
// that are no programs yet, and have descriptors of ours.
func (w *worker) outlast() {
	w.mu.Lock()
	var left []*child
	for _, c := range w.children {
		if c.end < 0 || hungUp(c.end) {
			left = append(left, c)
		}
	}
	w.mu.Unlock()
	for _, c := range left {
		<-c.ended
	}
}

// hungUp tells whether the other end of a session is closed.
func hungUp(end int) bool {
	fds := []unix.PollFd{{Fd: int32(end)}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil && fds[0].Revents&unix.POLLHUP != 0
}
