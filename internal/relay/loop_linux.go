package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/slab"
)

const (
	batch  = 128     // events taken at once
	budget = 4       // pieces that one event may move before others have their turn
	chunks = 4 << 14 // bytes read at once: more than one TLS record

	company = int64(50 * time.Millisecond) // after the last order: others run, too
)

// loop serves its pairs, alone: nothing of it is touched by other goroutines but
// what tell guards.
type loop struct {
	orders
	clock
	poller   poller
	wheel    wheel
	pipes    pipes
	patience patience
	stopped  bool
	obeyed   int64 // when it was told something last
	ended    chan struct{}
	pairs    slab.Slab[pair]  // by the number that epoll gives back
	keyed    slab.Slab[keyed] // their sides under TLS 1.3
	over     []*pair          // to leave their slots after this batch: events for them may be in it
	raw      []byte           // lent to whom moves bytes, as clear is
	clear    []byte           // longer by more than TLS may hold when it is handed over
	sealed   []byte           // what goes out under TLS
	warmth   warmth
}

func newLoop(p patience) (*loop, error) {
	l := &loop{
		clock: clock{began: time.Now()}, patience: p, ended: make(chan struct{}),
		raw: make([]byte, chunks), clear: make([]byte, 2*chunks), sealed: make([]byte, 0, 3*chunks),
	}
	if err := l.poller.open(); err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = l.poller.file.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	l.wake, l.known = wake, map[uint64]int32{}
	if err := unix.EpollCtl(l.poller.fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		_, _ = l.poller.file.Close(), unix.Close(wake)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return l, nil
}

// run serves until stopped.
func (l *loop) run() {
	defer close(l.ended)
	defer l.close()
	for !l.stopped {
		events := l.poller.wait(l.now, l.wheel.next(), l.now-l.obeyed < company)
		l.look()
		for _, ev := range events {
			l.handle(ev)
		}
		l.expire()
		l.sweep()
	}
}

// close ends what is left. Orders that come later are refused.
func (l *loop) close() {
	for _, do := range l.refuse() {
		do()
	}
	for _, pr := range l.pairs.All() {
		pr.end(Shutdown)
	}
	l.pipes.close()
	_, _ = l.poller.file.Close(), unix.Close(l.wake)
}

func (l *loop) handle(ev unix.EpollEvent) {
	if ev.Fd < 0 {
		l.obey()
		return
	}
	if pr := l.pairs.At(ev.Fd); pr != nil && !pr.over {
		pr.ready(int(ev.Pad), ev.Events)
	}
}

// obey does what others have told.
func (l *loop) obey() {
	l.obeyed = l.now
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
	for _, do := range l.take() {
		do()
	}
}

// start begins to serve a pair, for which it makes room among its kind.
func (l *loop) start(came *pair, p Pair) {
	slot, pr := l.pairs.Add()
	*pr = *came
	pr.slot = slot
	l.place(pr.id, slot)
	for side := range pr.legs {
		pr.legs[side].lodge(l)
	}
	l.watch(pr)
	for side, pending := range [][]byte{p.Client.Pending, p.Server.Pending} {
		if len(pending) > 0 && !pr.over {
			pr.pass(side, pending)
		}
	}
	for side := range pr.legs { // TLS may hold what epoll does not know of
		if !pr.over {
			pr.move(side)
		}
	}
}

// goOn takes up what is known of a pair from before it was started.
func (pr *pair) goOn(p Pair) {
	pr.legs[client].midLine = p.MidLine
	pr.legs[client].received = p.Before.FromClient
	pr.legs[server].received = p.Before.FromServer
	pr.moved()
	if last := p.Before.Last; !last.IsZero() {
		pr.last = pr.loop.count(last)
		pr.quiet = pr.last
	}
}

// forget takes a pair out. Its slot is free after this batch.
func (l *loop) forget(pr *pair) {
	l.leave(pr.id, pr.slot)
	if pr.slot < 0 {
		return // never started
	}
	l.wheel.remove(pr)
	l.over = append(l.over, pr)
}

// sweep frees the slots of pairs that are over.
func (l *loop) sweep() {
	for i, pr := range l.over {
		for side := range pr.legs {
			if k := pr.legs[side].keyed; k != nil {
				l.keyed.Remove(k.slot)
			}
		}
		l.pairs.Remove(pr.slot)
		l.over[i] = nil
	}
	l.over = l.over[:0]
}

// pair returns a pair that has come and is not over.
func (l *loop) pair(id uint64) *pair {
	slot, _ := l.knows(id)
	if pr := l.pairs.At(slot); pr != nil && pr.id == id && !pr.over {
		return pr
	}
	return nil
}

// watch has a pair looked at when it may be idle.
func (l *loop) watch(pr *pair) {
	if pr.idle > 0 {
		l.wheel.file(pr, pr.quiet+int64(pr.idle))
	}
}

// expire ends the pairs that were idle for too long.
func (l *loop) expire() {
	l.wheel.turn(l.now)
	for pr := l.wheel.pop(); pr != nil; pr = l.wheel.pop() {
		if l.now-pr.quiet >= int64(pr.idle) {
			pr.dismiss(Idled)
		} else {
			l.watch(pr)
		}
	}
}
