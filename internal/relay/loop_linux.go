package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
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
	slots    []*pair // by the number that epoll gives back
	free     []int32
	freed    []int32 // to be free after this batch: events for them may be in it
	raw      []byte  // lent to whom moves bytes, as clear is
	clear    []byte  // longer by more than TLS may hold when it is handed over
	sealed   []byte  // what goes out under TLS
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
	l.wake, l.pairs = wake, map[uint64]*pair{}
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
		l.free = append(l.free, l.freed...)
		l.freed = l.freed[:0]
	}
}

// close ends what is left. Orders that come later are refused.
func (l *loop) close() {
	for _, do := range l.refuse() {
		do()
	}
	for _, pr := range l.remaining() {
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
	if pr := l.slots[ev.Fd]; pr != nil {
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

// start begins to serve a pair.
func (l *loop) start(pr *pair, p Pair) {
	if n := len(l.free); n > 0 {
		pr.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		pr.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[pr.slot] = pr
	pr.goOn(p)
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

// forget takes a pair out.
func (l *loop) forget(pr *pair) {
	l.leave(pr)
	if pr.slot < 0 {
		return // never started
	}
	l.slots[pr.slot] = nil
	l.wheel.remove(pr)
	l.freed = append(l.freed, pr.slot)
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
