package relay

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	pipeRoom = 1 << 20 // bytes of a pipe
	lendable = 16      // pipes that a loop lends at once: slow readers hold theirs long
	spare    = 2       // pipes that it keeps while nobody needs them
	copies   = 1000    // pieces that are copied before another pipe is tried, where there are but small ones
)

// A pipe is where bytes pass from socket to socket without being copied into this
// process. It is lent to a direction in which much flows, while it holds bytes.
type pipe struct {
	r, w  int
	holds int
}

// pipes are those of a loop.
type pipes struct {
	free   []*pipe
	lent   int
	copies int // pieces until another pipe is tried
}

// lend returns an empty pipe, or nil if there shall be no more of them.
func (ps *pipes) lend() *pipe {
	if ps.lent == lendable {
		return nil
	}
	var p *pipe
	if n := len(ps.free); n > 0 {
		p, ps.free = ps.free[n-1], ps.free[:n-1]
	} else if p = ps.newPipe(); p == nil {
		return nil
	}
	ps.lent++
	return p
}

// newPipe makes one, if it can have as much room as what is read at once. A user who has
// many gets small ones (pipe(7), pipe-user-pages-soft), by which it would take longer.
func (ps *pipes) newPipe() *pipe {
	if ps.copies > 0 {
		ps.copies--
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		ps.copies = copies
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	_, _ = unix.FcntlInt(uintptr(p.r), unix.F_SETPIPE_SZ, pipeRoom) // if not, it has less room
	if room, err := unix.FcntlInt(uintptr(p.r), unix.F_GETPIPE_SZ, 0); err != nil || room < chunks {
		p.close()
		ps.copies = copies
		return nil
	}
	return p
}

// giveBack ends a loan.
func (ps *pipes) giveBack(p *pipe) {
	ps.lent--
	if p.holds > 0 || len(ps.free) == spare {
		p.close()
		return
	}
	ps.free = append(ps.free, p)
}

func (ps *pipes) close() {
	for _, p := range ps.free {
		p.close()
	}
	ps.free = nil
}

func (p *pipe) close() { _, _ = unix.Close(p.r), unix.Close(p.w) }

// fill takes up to n bytes from a socket, without waiting.
func (p *pipe) fill(from *leg, n int) (int, error) {
	got, err := splice(int(from.fd), p.w, n)
	p.holds += got
	return got, err
}

// drain gives a socket what it takes now.
func (p *pipe) drain(to *leg) error {
	for p.holds > 0 {
		n, err := splice(p.r, int(to.fd), p.holds)
		if err != nil || n == 0 {
			return err
		}
		p.holds -= n
	}
	return nil
}

// splice returns 0 if nothing can be moved now.
func splice(from, to, n int) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		default:
			return int(max(moved, 0)), err
		}
	}
}

// flood passes on what one side says, through a pipe, if it says much and both are
// plain. The last bytes that are there are left to be read: it must be known whether
// they end a line.
func (pr *pair) flood(side int) (n int, ok bool) {
	g, to := &pr.legs[side], &pr.legs[1-side]
	waits, err := unix.IoctlGetInt(int(g.fd), unix.TIOCINQ)
	if err != nil || waits <= chunks {
		g.bulk = false
		return 0, true
	}
	p := pr.loop.pipes.lend()
	if p == nil {
		return 0, true
	}
	if n, err = p.fill(g, min(waits-1, pipeRoom)); err != nil || n == 0 {
		pr.loop.pipes.giveBack(p)
		return 0, true // a read will tell
	}
	g.received += uint64(n)
	pr.moved()
	to.midLine = true // more comes, and it is read
	if err := p.drain(to); err != nil {
		pr.loop.pipes.giveBack(p)
		pr.end(failed[1-side])
		return 0, false
	}
	if p.holds == 0 {
		pr.loop.pipes.giveBack(p)
	} else {
		to.rest = backlogs.Get().(*backlog)
		to.rest.pipe = p
	}
	return n, true
}
