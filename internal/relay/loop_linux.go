package relay

import (
	"container/heap"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batch  = 128     // events taken at once
	budget = 4       // chunks that one event may move before others have their turn
	bulk   = 4 << 14 // bytes of the buffer for plain legs
)

// loop serves its pairs, alone: nothing of it is touched by other goroutines but
// what tell guards.
type loop struct {
	orders
	epoll   int
	stopped bool
	ended   chan struct{}
	pairs   map[uint64]*pair
	slots   []*pair // by the number that epoll gives back
	free    []int32
	freed   []int32 // to be free after this batch: events for them may be in it
	idles   deadlines
	buf     []byte // lent to whom moves bytes
	patience
}

func newLoop(p patience) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		_, _ = unix.Close(ep), unix.Close(wake)
		return nil, err
	}
	l := &loop{epoll: ep, ended: make(chan struct{}), pairs: map[uint64]*pair{}, buf: make([]byte, bulk), patience: p}
	l.wake = wake
	return l, nil
}

// run serves until stopped.
func (l *loop) run() {
	defer close(l.ended)
	defer l.close()
	events := make([]unix.EpollEvent, batch)
	for !l.stopped {
		n, err := unix.EpollWait(l.epoll, events, l.timeout())
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("relay: epoll_wait: " + err.Error())
		}
		for _, ev := range events[:max(n, 0)] {
			l.handle(ev)
		}
		l.expire()
		l.free = append(l.free, l.freed...)
		l.freed = l.freed[:0]
	}
}

// close ends what is left. Orders that come later are refused.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	told := l.told
	l.mu.Unlock()
	for _, do := range told {
		do()
	}
	for _, pr := range l.pairs {
		pr.end(Shutdown)
	}
	_, _ = unix.Close(l.epoll), unix.Close(l.wake)
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
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
	l.mu.Lock()
	told := l.told
	l.told = nil
	l.mu.Unlock()
	for _, do := range told {
		do()
	}
}

// start begins to serve a pair.
func (l *loop) start(pr *pair, fromClient, fromServer []byte) {
	l.pairs[pr.id] = pr
	if n := len(l.free); n > 0 {
		pr.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		pr.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[pr.slot] = pr
	l.watch(pr)
	for side, pending := range [][]byte{fromClient, fromServer} {
		if len(pending) > 0 && !pr.over && !pr.pass(side, pending) {
			return
		}
	}
	for side := range pr.legs { // TLS may hold what epoll does not know of
		if !pr.over {
			pr.move(side)
		}
	}
}

// forget takes a pair out.
func (l *loop) forget(pr *pair) {
	if pr.slot < 0 {
		return // never started
	}
	delete(l.pairs, pr.id)
	l.slots[pr.slot] = nil
	if pr.place >= 0 {
		heap.Remove(&l.idles, pr.place)
	}
	l.freed = append(l.freed, pr.slot)
}

// deadlines are pairs by when they may be idle, the soonest first. A pair is not
// moved when a byte moves: it is looked at when its time has come.
type deadlines []*pair

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due.Before(d[j].due) }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	pr := x.(*pair)
	pr.place = len(*d)
	*d = append(*d, pr)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	old := *d
	pr := old[len(old)-1]
	old[len(old)-1] = nil
	pr.place = -1
	*d = old[:len(old)-1]
	return pr
}

// watch sets the time at which a pair will be looked at.
func (l *loop) watch(pr *pair) {
	switch pr.due = pr.quiet.Add(pr.idle); {
	case pr.idle == 0:
	case pr.place < 0:
		heap.Push(&l.idles, pr)
	default:
		heap.Fix(&l.idles, pr.place)
	}
}

// timeout is how long epoll_wait may wait, in milliseconds.
func (l *loop) timeout() int {
	if len(l.idles) == 0 {
		return -1
	}
	return int(min(max(time.Until(l.idles[0].due)+time.Millisecond, 0), time.Minute) / time.Millisecond)
}

// expire ends the pairs that were idle for too long.
func (l *loop) expire() {
	for len(l.idles) > 0 && !time.Now().Before(l.idles[0].due) {
		if pr := l.idles[0]; time.Since(pr.quiet) >= pr.idle {
			pr.dismiss(Idled)
		} else {
			l.watch(pr)
		}
	}
}
