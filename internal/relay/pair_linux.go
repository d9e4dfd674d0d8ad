package relay

import (
	"crypto/tls"
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

// pair is a session in a loop.
type pair struct {
	id       uint64
	loop     *loop
	slot     int32
	due      time.Time // when to look whether it is idle
	place    int       // among the loop's deadlines; -1: not there
	legs     [2]leg
	idle     time.Duration
	last     time.Time // when a byte moved
	quiet    time.Time // since when it may be called idle: last, or when one side left
	farewell string
	why      Ending
	over     bool
	done     func(Stats)
}

// leg is one side of a pair.
type leg struct {
	fd       int
	tls      *tls.Conn // nil: plain
	armed    uint32    // what epoll waits for
	rest     []byte    // of what is due to this side and did not fit into its socket
	gone     bool      // it has no more to say
	shut     bool      // it was told that no more comes
	midLine  bool      // the last thing written to it did not end a line
	received uint64
	queued   bool   // the loop will come back to it
	left     Ending // what its end means
	failed   Ending // what an error of it means
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
		pr.end(g.failed) // it will not even listen any more
	case events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		pr.move(side)
	}
}

// move passes on what one side says, for as long as the other takes it, and
// stops after a while: others wait.
func (pr *pair) move(side int) {
	g, to := &pr.legs[side], &pr.legs[1-side]
	for left := budget; g.heard(to); left-- {
		if left == 0 {
			pr.again(side)
			break
		}
		n, err := g.read(pr.loop.buf)
		if n > 0 && !pr.pass(side, pr.loop.buf[:n]) {
			return
		}
		if err != nil {
			if !pr.stop(side, err) {
				return
			}
			break
		}
		if g.tls == nil && n < len(pr.loop.buf) {
			break // that was all; if not, epoll says so again
		}
	}
	pr.arm()
}

// again comes back to a side when others have had their turn. TLS may hold
// decrypted bytes of which epoll does not know.
func (pr *pair) again(side int) {
	g := &pr.legs[side]
	if g.queued {
		return
	}
	g.queued = true
	pr.loop.tell(func() {
		g.queued = false
		if !pr.over {
			pr.move(side)
		}
	})
}

// heard tells whether a side is read now: while the other takes what it says,
// and while it takes itself what TLS answers it (RFC 8446 §4.6.3).
func (g *leg) heard(to *leg) bool {
	return !g.gone && len(to.rest) == 0 && len(g.rest) < 2*bulk
}

// stop is called when one side has no more to say now, or ever. It returns
// false when the pair is over.
func (pr *pair) stop(side int, err error) bool {
	g := &pr.legs[side]
	switch {
	case errors.Is(err, errAgain):
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// Many clients close the socket without TLS's own goodbye: ErrUnexpectedEOF.
		return pr.leave(side)
	}
	pr.end(g.failed)
	return false
}

// leave passes the end of one side on to the other.
func (pr *pair) leave(side int) bool {
	g := &pr.legs[side]
	g.gone = true
	if pr.why == "" {
		pr.why = g.left
	}
	return pr.saidAll(1 - side)
}

// saidAll tells one side that no more comes, once the other has left and all is
// written. It returns false when the pair is over.
func (pr *pair) saidAll(side int) bool {
	g, from := &pr.legs[side], &pr.legs[1-side]
	if !from.gone || len(g.rest) > 0 {
		return true
	}
	if !g.shut {
		pr.linger(side)
	}
	over := g.gone && len(from.rest) == 0
	if !over || g.tls != nil { // the end of a pair closes its sockets anyway
		g.closeWrite()
	}
	if over {
		pr.end(pr.why)
	}
	return !over
}

// linger bounds how long one side may go on after the other has left.
func (pr *pair) linger(side int) {
	most := pr.loop.patience.server
	if side == client {
		most = pr.loop.patience.client
	}
	pr.quiet = time.Now() // however long it was at rest before
	if pr.idle == 0 || pr.idle > most {
		pr.idle = most
	}
	pr.loop.watch(pr)
}

// pass writes to the other side what one has said.
func (pr *pair) pass(from int, b []byte) bool {
	pr.legs[from].received += uint64(len(b))
	pr.moved()
	return pr.write(1-from, b)
}

func (pr *pair) moved() {
	pr.last = time.Now()
	pr.quiet = pr.last
}

// write writes to one side; what does not fit waits. It returns false when the
// pair is over.
func (pr *pair) write(side int, b []byte) bool {
	g := &pr.legs[side]
	g.midLine = b[len(b)-1] != '\n'
	var err error
	if g.tls != nil {
		_, err = g.tls.Write(b)
	} else {
		_, err = g.writeSocket(b)
	}
	if err != nil {
		pr.end(g.failed)
		return false
	}
	pr.arm()
	return !pr.over
}

// flush writes the rest that is due to one side.
func (pr *pair) flush(side int) {
	g := &pr.legs[side]
	rest := g.rest
	g.rest = nil
	if _, err := g.writeSocket(rest); err != nil {
		pr.end(g.failed)
		return
	}
	if len(g.rest) == 0 {
		pr.moved()
		if !pr.saidAll(side) {
			return
		}
		for s := range pr.legs {
			if pr.legs[s].tls != nil && !pr.legs[s].gone {
				pr.again(s)
			}
		}
	}
	pr.arm()
}

// closeWrite says that no more will come: TLS close_notify, else TCP FIN.
func (g *leg) closeWrite() {
	switch {
	case g.shut:
	case g.tls != nil:
		_ = g.tls.CloseWrite()
	default:
		_ = unix.Shutdown(g.fd, unix.SHUT_WR)
	}
	g.shut = true
}

// arm has epoll wait for what matters now: a side is read only while the other
// takes what it says.
func (pr *pair) arm() {
	for side := range pr.legs {
		g, to := &pr.legs[side], &pr.legs[1-side]
		var want uint32
		if g.heard(to) {
			want |= unix.EPOLLIN
		}
		if len(g.rest) > 0 {
			want |= unix.EPOLLOUT
		}
		op := unix.EPOLL_CTL_MOD
		switch {
		case want == g.armed:
			continue
		case g.armed == 0:
			op = unix.EPOLL_CTL_ADD
		case want == 0:
			op = unix.EPOLL_CTL_DEL // else a hang-up would be told on and on
		}
		ev := unix.EpollEvent{Events: want, Fd: pr.slot, Pad: int32(side)}
		if err := unix.EpollCtl(pr.loop.epoll, op, g.fd, &ev); err != nil {
			pr.end(g.failed)
			return
		}
		g.armed = want
	}
}

// dismiss ends the pair from our side. The client hears why only where the last
// line was whole and has left: a goodbye in the middle of a message would become
// part of it.
func (pr *pair) dismiss(why Ending) {
	if g := &pr.legs[client]; pr.why == "" && pr.farewell != "" && !g.midLine && len(g.rest) == 0 {
		pr.why = why
		if !pr.write(client, []byte(pr.farewell)) {
			return
		}
	}
	for side := range pr.legs {
		// Within a line the client hears no TLS goodbye either: what it has is not whole.
		if g := &pr.legs[side]; g.tls != nil && len(g.rest) == 0 && !g.midLine {
			g.closeWrite()
		}
	}
	pr.end(why)
}

// end closes both sides and reports.
func (pr *pair) end(why Ending) {
	if pr.over {
		return
	}
	pr.over = true
	if pr.why == "" {
		pr.why = why
	}
	pr.loop.forget(pr)
	for side := range pr.legs {
		if g := &pr.legs[side]; g.fd >= 0 {
			if g.armed != 0 { // close alone would not do it while somebody else has the socket
				_ = unix.EpollCtl(pr.loop.epoll, unix.EPOLL_CTL_DEL, g.fd, nil)
			}
			_ = unix.Close(g.fd)
			g.fd, g.rest = -1, nil // the number is somebody else's from here on
		}
	}
	st := Stats{FromClient: pr.legs[client].received, FromServer: pr.legs[server].received, Last: pr.last, Ended: pr.why}
	go pr.done(st) // it logs: no loop waits for a disk
}

// read reads what this side says, decrypted.
func (g *leg) read(b []byte) (int, error) {
	if g.tls != nil {
		return g.tls.Read(b)
	}
	return g.readSocket(b)
}

// readSocket reads from the socket without waiting.
func (g *leg) readSocket(b []byte) (int, error) {
	for {
		n, err := unix.Read(g.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, errAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// writeSocket writes to the socket without waiting. What does not fit is kept in
// rest, so that it never writes short: crypto/tls could not go on after that.
func (g *leg) writeSocket(b []byte) (int, error) {
	all := len(b)
	for len(b) > 0 && len(g.rest) == 0 {
		n, err := unix.Write(g.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			g.rest = append(g.rest, b...)
			return all, nil
		case err != nil:
			return 0, err
		default:
			b = b[n:]
		}
	}
	g.rest = append(g.rest, b...)
	return all, nil
}
