package relay

import (
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// The sides of a pair.
const (
	client = iota
	server
)

// What the end of a side means, and what an error of it.
var (
	left   = [2]Ending{ClientLeft, BackendClosed}
	cutOff = [2]Ending{ClientCut, BackendCut}
	failed = [2]Ending{ClientFailed, BackendFailed}
)

// pair is a session in a loop.
type pair struct {
	id         uint64
	loop       *loop
	done       func(Stats)
	farewell   string
	why        Ending
	idle       time.Duration
	last       int64 // when a byte moved, by the loop's clock
	quiet      int64 // since when it may be called idle: last, or when one side left
	prev, next *pair // in a list of the wheel
	legs       [2]leg
	slot       int32 // -1: it is not in the loop
	list       uint8 // of the wheel
	over       bool
}

// ready is called when epoll has something about one side.
func (pr *pair) ready(side int, events uint32) {
	g := &pr.legs[side]
	if events&unix.EPOLLOUT != 0 {
		pr.flush(side)
	}
	if pr.over {
		return
	}
	switch {
	case events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 && g.gone:
		pr.end(failed[side]) // it will not even listen any more
	case events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		pr.move(side)
	}
}

// move passes on what one side says, for as long as the other takes it, and
// stops after a while: others wait. Epoll says it again if there is more.
func (pr *pair) move(side int) {
	g, to := &pr.legs[side], &pr.legs[1-side]
	for turn := 0; turn < budget && g.heard(to); turn++ {
		more := pr.step(side)
		if pr.over {
			return
		}
		if !more {
			break
		}
	}
	pr.arm()
}

// step passes on one piece of what one side says, and tells whether there may be
// more now.
func (pr *pair) step(side int) bool {
	g, to := &pr.legs[side], &pr.legs[1-side]
	if g.bulk && !g.rights && g.plain() && to.plain() {
		if n, ok := pr.flood(side); n > 0 || !ok {
			return ok
		}
	}
	n, more, err := g.read(pr.loop.clear, pr.loop.raw)
	pr.loop.warmth.note(g.keyed)
	if n > 0 && !pr.pass(side, pr.loop.clear[:n]) {
		return false
	}
	if g.bulk = more; err != nil && !errors.Is(err, errAgain) {
		pr.stop(side, err)
		return false
	}
	return more
}

// stop is called when one side has no more to say.
func (pr *pair) stop(side int, err error) {
	switch {
	case errors.Is(err, io.EOF):
		pr.leave(side, left[side])
	case errors.Is(err, io.ErrUnexpectedEOF): // many clients close the socket without TLS's own goodbye
		pr.legs[side].cut = true
		pr.leave(side, cutOff[side])
	default:
		pr.end(failed[side])
	}
}

// leave passes the end of one side on to the other.
func (pr *pair) leave(side int, why Ending) {
	pr.legs[side].gone = true
	if pr.why == "" {
		pr.why = why
	}
	pr.saidAll(1 - side)
}

// saidAll tells one side that no more comes, once the other has left and all is
// written.
func (pr *pair) saidAll(side int) {
	g, from := &pr.legs[side], &pr.legs[1-side]
	if !from.gone || g.rest != nil {
		return
	}
	if !g.shut {
		pr.linger(side)
	}
	over := g.gone && from.rest == nil
	if !over || !g.plain() { // the end of a pair closes its sockets anyway
		g.closeWrite(from.cut)
	}
	if over {
		pr.end(pr.why)
	}
}

// linger bounds how long one side may go on after the other has left.
func (pr *pair) linger(side int) {
	most := pr.loop.patience.server
	if side == client {
		most = pr.loop.patience.client
	}
	pr.quiet = pr.loop.now // however long it was at rest before
	if pr.idle == 0 || pr.idle > most {
		pr.idle = most
	}
	pr.loop.watch(pr)
}

// pass writes to the other side what one has said. It returns false when the pair
// is over.
func (pr *pair) pass(from int, b []byte) bool {
	pr.legs[from].received += uint64(len(b))
	pr.moved()
	to := &pr.legs[1-from]
	if err := to.write(b, pr.loop.sealed); err != nil {
		pr.end(failed[1-from])
		return false
	}
	pr.loop.warmth.note(to.keyed)
	return true
}

func (pr *pair) moved() { pr.last, pr.quiet = pr.loop.now, pr.loop.now }

// flush writes the rest that is due to one side.
func (pr *pair) flush(side int) {
	g := &pr.legs[side]
	if g.rest == nil {
		return
	}
	due := g.owed()
	if err := g.catchUp(); err != nil {
		pr.end(failed[side])
		return
	}
	if g.owed() < due {
		pr.moved() // it reads, however slowly
	}
	if g.owed() == 0 {
		pr.settle(g)
		if pr.saidAll(side); pr.over {
			return
		}
	}
	pr.arm()
}

// settle gives back what held the rest.
func (pr *pair) settle(g *leg) {
	if g.rest == nil {
		return
	}
	if g.rest.pipe != nil {
		pr.loop.pipes.giveBack(g.rest.pipe)
	}
	g.rest.free()
	g.rest = nil
}

// arm has epoll wait for what matters now: a side is read only while the other
// takes what it says.
func (pr *pair) arm() {
	for side := range pr.legs {
		g, to := &pr.legs[side], &pr.legs[1-side]
		want := g.wants(to)
		op := unix.EPOLL_CTL_MOD
		switch {
		case want == g.armed:
			continue
		case g.armed == 0:
			op = unix.EPOLL_CTL_ADD
		case want == 0:
			op = unix.EPOLL_CTL_DEL // else a hang-up would be told on and on
		}
		ev := unix.EpollEvent{Events: uint32(want), Fd: pr.slot, Pad: int32(side)}
		if err := unix.EpollCtl(pr.loop.poller.fd, op, int(g.fd), &ev); err != nil {
			pr.end(failed[side])
			return
		}
		g.armed = want
	}
}
