package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Epoll is the Engine for many sessions on Linux: as many loops as processors,
// each with one epoll instance. A pair at rest owns no buffer and no goroutine;
// buffers belong to the loops and are lent.
//
// What stays: crypto/tls keeps its own state of a connection, about 8 KB, and
// the room for the longest record that has come.
type Epoll struct{ loops []*loop }

// NewEpoll starts the loops. Close ends them.
func NewEpoll() (*Epoll, error) {
	e := &Epoll{}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			_ = e.Close()
			return nil, fmt.Errorf("epoll: %w", err)
		}
		e.loops = append(e.loops, l)
		go l.run()
	}
	return e, nil
}

// Close ends the loops. There must be no pairs any more.
func (e *Epoll) Close() error {
	for _, l := range e.loops {
		l.tell(func() { l.stopped = true })
		<-l.ended
	}
	return nil
}

func (e *Epoll) loop(id uint64) *loop { return e.loops[id%uint64(len(e.loops))] }

// Start implements Engine.
func (e *Epoll) Start(p Pair, done func(Stats)) {
	pr := &pair{
		id: p.ID, place: -1, idle: p.Idle, farewell: p.Farewell, done: done,
		legs: [2]leg{{left: ClientLeft, failed: ClientFailed}, {left: BackendClosed, failed: BackendFailed}},
	}
	errClient := pr.legs[client].take(p.Client)
	errServer := pr.legs[server].take(p.Server)
	l := e.loop(p.ID)
	pr.loop = l
	l.tell(func() {
		switch {
		case errClient != nil:
			pr.end(ClientFailed)
		case errServer != nil:
			pr.end(BackendFailed)
		default:
			l.start(pr, p.Client.Pending, p.Server.Pending)
		}
	})
}

// Kick implements Engine. Whether there is such a pair is known to its loop
// only, which is asked.
func (e *Epoll) Kick(id uint64, why Ending) bool {
	hit := make(chan bool, 1)
	l := e.loop(id)
	l.tell(func() {
		pr := l.pairs[id]
		hit <- pr != nil
		if pr != nil {
			pr.dismiss(why)
		}
	})
	return <-hit
}

// take gets the descriptor of a leg's socket out of Go's poller, which must not
// wake for it any more: the duplicate is ours, the original is closed.
func (g *leg) take(from Leg) error {
	var err error
	g.fd, err = duplicate(from.Conn)
	_ = from.Conn.Close()
	if from.TLS != nil && err == nil {
		g.tls = from.TLS
		socketOf(from.TLS).engine = g
	}
	return err
}

// duplicate returns another descriptor for a connection, or -1.
func duplicate(nc net.Conn) (dup int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("a %T has no descriptor", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	dup = -1
	ctlErr := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return dup, errors.Join(ctlErr, err)
}

func socketOf(t *tls.Conn) *Socket {
	s, ok := t.NetConn().(*Socket)
	if !ok {
		panic(fmt.Sprintf("relay: TLS over a %T cannot be relayed by epoll; begin it over NewSocket", t.NetConn()))
	}
	return s
}

// tell has the loop do something. It may be called by any goroutine.
func (l *loop) tell(do func()) {
	l.mu.Lock()
	l.told = append(l.told, do)
	wake := len(l.told) == 1
	l.mu.Unlock()
	if wake {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// orders are what others have told the loop.
type orders struct {
	mu   sync.Mutex
	told []func()
}
