package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// leg is one side of a pair.
type leg struct {
	tls      *tls.Conn // nil: plain, or keyed
	keyed    *keyed    // TLS without crypto/tls; nil: plain, or tls
	rest     *backlog  // nil: all that is due to this side is written
	received uint64
	fd       int32
	armed    uint8 // what epoll waits for
	gone     bool  // it has no more to say
	cut      bool  // … and has not said so: TLS's goodbye is missing
	shut     bool  // it was told that no more comes
	midLine  bool  // the last thing written to it did not end a line
	bulk     bool  // what it said last filled the buffer
	dear     bool  // what it said last had TLS change keys, or answer
	written  bool  // something was written to it, since that was set to false
	rights   bool  // descriptors may come with what it says: see readRights
}

// lodge gives a leg its place in a loop.
func (g *leg) lodge(l *loop) {
	if g.tls != nil {
		socketOf(g.tls).engine = g
	}
	if g.keyed != nil {
		slot, k := l.keyed.Add()
		*k = *g.keyed
		k.slot = slot
		g.keyed.Wipe()
		g.keyed = k
	}
}

// backlog is what is due to a side and did not fit into its socket.
type backlog struct {
	bytes   []byte
	written int   // of bytes
	pipe    *pipe // or it stands in a pipe
}

// backlogs are kept while somebody needs them now and then.
var backlogs = sync.Pool{New: func() any { return new(backlog) }}

func (b *backlog) free() {
	b.bytes, b.written, b.pipe = b.bytes[:0], 0, nil
	backlogs.Put(b)
}

// owed is how much is due to this side.
func (g *leg) owed() int {
	switch {
	case g.rest == nil:
		return 0
	case g.rest.pipe != nil:
		return g.rest.pipe.holds
	}
	return len(g.rest.bytes) - g.rest.written
}

// plain tells whether what is read is what was said.
func (g *leg) plain() bool { return g.tls == nil && g.keyed == nil }

// heard tells whether a side is read now: while the other takes what it says,
// and while it takes itself what TLS answers it (RFC 8446 §4.6.3).
func (g *leg) heard(to *leg) bool {
	return !g.gone && to.rest == nil && (g.plain() || g.owed() < mostOwed)
}

// mostOwed is more than what the other side says at once, sealed, and so much for answers.
const mostOwed = chunks + chunks/8

// wants is what epoll shall wait for.
func (g *leg) wants(to *leg) uint8 {
	var want uint8
	if g.heard(to) {
		want |= unix.EPOLLIN
	}
	if g.rest != nil {
		want |= unix.EPOLLOUT
	}
	return want
}

// read reads what this side says, decrypted, into b, and tells whether there may be
// more now. TLS gets what the socket has by way of raw; as b is longer, it gives all
// that it can decrypt, and nothing is left in it of which epoll does not know.
func (g *leg) read(b, raw []byte) (n int, more bool, err error) {
	if g.keyed != nil {
		return g.keyed.read(g, b, raw)
	}
	if g.tls == nil {
		n, err = g.readSocket(b[:len(raw)])
		return n, n == len(raw), err
	}
	s := socketOf(g.tls)
	raw = raw[:g.most(len(raw))]
	come, err := g.readSocket(raw)
	if s.brought, s.behind = raw[:come], err; err == nil {
		s.behind = errAgain
	}
	g.written = false
	for err = nil; err == nil; {
		var m int
		m, err = g.tls.Read(b[n:])
		n += m
	}
	s.brought = nil // what follows TLS's goodbye
	if errors.Is(err, io.EOF) && errors.Is(s.behind, io.EOF) {
		err = io.ErrUnexpectedEOF // crypto/tls forgives it between records
	}
	g.dear = g.written
	return n, come == len(raw) && !g.dear, err
}

// dearly is how much is read at once of a side that keeps TLS busy.
const dearly = 512

// most is how much of so many bytes is read of this side at once. A change of keys takes
// a hundred times what a short record does: 64 KB of them would hold a loop for 40 ms.
func (g *leg) most(n int) int {
	if g.dear {
		return min(n, dearly)
	}
	return n
}

// write writes to this side. What does not fit is kept. room is lent, for what TLS makes
// of it.
func (g *leg) write(b, room []byte) error {
	g.midLine = b[len(b)-1] != '\n'
	if g.keyed != nil {
		_, err := g.writeSocket(g.keyed.Seal(room[:0], b))
		return err
	}
	if g.tls == nil {
		_, err := g.writeSocket(b)
		return err
	}
	if g.rest != nil {
		_, err := g.tls.Write(b)
		return err
	}
	g.rest = backlogs.Get().(*backlog) // crypto/tls writes each record on its own; gathered they leave at once
	if _, err := g.tls.Write(b); err != nil {
		return err
	}
	err := g.catchUp()
	if err == nil && g.owed() == 0 {
		g.rest.free()
		g.rest = nil
	}
	return err
}

// catchUp writes of the rest what fits.
func (g *leg) catchUp() error {
	if p := g.rest.pipe; p != nil {
		return p.drain(g)
	}
	n, err := g.send(g.rest.bytes[g.rest.written:])
	g.rest.written += n
	return err
}

// writeSocket writes to the socket without waiting. What does not fit is kept in
// rest, so that it never writes short: crypto/tls could not go on after that.
func (g *leg) writeSocket(b []byte) (int, error) {
	g.written = true
	sent := 0
	if g.rest == nil {
		var err error
		if sent, err = g.send(b); err != nil {
			return 0, err
		}
	}
	if sent < len(b) {
		if g.rest == nil {
			g.rest = backlogs.Get().(*backlog)
		}
		g.rest.bytes = append(g.rest.bytes, b[sent:]...)
	}
	return len(b), nil
}

// send writes what fits into the socket.
func (g *leg) send(b []byte) (sent int, err error) {
	for sent < len(b) {
		n, err := unix.Write(int(g.fd), b[sent:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return sent, nil
		case err != nil:
			return sent, err
		default:
			sent += n
		}
	}
	return sent, nil
}

// closeWrite says that no more will come: TLS close_notify, else TCP FIN. What was cut off
// on its way to us is not called whole.
func (g *leg) closeWrite(cut bool) {
	switch {
	case g.shut:
	case cut:
		_ = unix.Shutdown(int(g.fd), unix.SHUT_WR)
	case g.keyed != nil:
		_, _ = g.writeSocket(g.keyed.CloseNotify(nil))
	case g.tls != nil:
		_ = g.tls.CloseWrite()
	default:
		_ = unix.Shutdown(int(g.fd), unix.SHUT_WR)
	}
	g.shut = true
}

// waiting tells whether more has come from this side than was passed on.
func (g *leg) waiting() bool {
	if g.tls != nil && socketOf(g.tls).follow.within() || g.keyed != nil && len(g.keyed.part) > 0 {
		return true
	}
	n, err := unix.IoctlGetInt(int(g.fd), unix.TIOCINQ)
	return n > 0 || err != nil
}
