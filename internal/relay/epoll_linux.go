package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Epoll is the Engine for many sessions on Linux: as many loops as processors,
// each with one epoll instance. A pair at rest owns no buffer and no goroutine;
// buffers and pipes belong to the loops and are lent.
type Epoll struct{ loops []*loop }

// NewEpoll starts the loops. Close ends them.
func NewEpoll() (*Epoll, error) {
	e := &Epoll{}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(usual)
		if err != nil {
			_ = e.Close()
			return nil, fmt.Errorf("epoll: %w", err)
		}
		e.loops = append(e.loops, l)
		go l.run()
	}
	return e, nil
}

// Close ends the loops, and the pairs that are left with Shutdown.
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
	l := e.loop(p.ID)
	pr := &pair{id: p.ID, loop: l, slot: -1, list: none, idle: p.Idle, farewell: p.Farewell, done: done}
	var errClient, errServer error
	p.Client.Pending, errClient = pr.legs[client].take(p.Client)
	p.Server.Pending, errServer = pr.legs[server].take(p.Server)
	told := l.enter(pr.id, func() {
		switch pr.goOn(p); {
		case errClient != nil:
			pr.end(ClientFailed)
		case errServer != nil:
			pr.end(BackendFailed)
		default:
			l.start(pr, p)
		}
	})
	if !told {
		pr.close()
		go done(Stats{ID: p.ID, FromClient: p.Before.FromClient, FromServer: p.Before.FromServer, Last: time.Now(), Ended: Shutdown})
	}
}

// Kick implements Engine. It does not wait for the loop: thousands are kicked when
// the process ends.
func (e *Epoll) Kick(id uint64, why Ending) bool {
	l := e.loop(id)
	_, known := l.knows(id)
	return known && l.tell(func() {
		if pr := l.pair(id); pr != nil {
			pr.dismiss(why)
		}
	})
}

// Release implements Engine.
func (e *Epoll) Release(id uint64) (p Pair, done func(Stats), ok bool) {
	l, answered := e.loop(id), make(chan struct{})
	told := l.tell(func() {
		defer close(answered)
		if pr := l.pair(id); pr != nil {
			p, done, ok = pr.release()
		}
	})
	if told {
		<-answered
	}
	return p, done, ok
}

// take gets the descriptor of a leg's socket out of Go's poller, which must not
// wake for it any more: the duplicate is ours, the original is closed. It returns what
// was read from the leg already.
func (g *leg) take(from Leg) (pending []byte, err error) {
	fd, err := duplicate(from.Conn)
	g.fd = int32(fd)
	defer func() { _ = from.Conn.Close() }()
	g.rights = err == nil && carriesRights(fd)
	switch {
	case err != nil:
		return nil, err
	case from.Keys != nil:
		g.keyed = new(keyed)
		return from.Pending, errors.Join(g.keyed.Begin(*from.Keys), g.keyed.begin(from.Ahead))
	case from.TLS == nil:
		return from.Pending, nil
	}
	return g.takeTLS(from)
}

// takeTLS goes on without crypto/tls where that can be.
func (g *leg) takeTLS(from Leg) (pending []byte, err error) {
	s := socketOf(from.TLS)
	defer s.forget()
	k := new(keyed)
	decrypted, ok := s.takeOver(from.TLS, &k.Conn)
	pending = append(from.Pending, decrypted...)
	if ok {
		g.keyed = k
		return pending, k.begin(s.ahead)
	}
	g.tls, s.stopped, s.engine = from.TLS, false, g
	s.ahead, s.room = slices.Clone(s.ahead), nil
	return pending, nil
}

// duplicate returns another descriptor for a connection, or its own if nobody else knows
// it; -1 if there is none.
func duplicate(nc net.Conn) (dup int, err error) {
	if d, ok := nc.(*descriptor); ok {
		if fd, ok := d.give(); ok {
			return fd, nil
		}
	}
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
		panic(fmt.Sprintf("relay: TLS over a %T cannot be relayed by epoll; begin it with Server or Client", t.NetConn()))
	}
	return s
}
