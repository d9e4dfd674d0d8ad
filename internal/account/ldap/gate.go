package ldap

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// How much a server may send for one request, in bytes.
const (
	smallAnswer = 64 << 10  // a result
	entryAnswer = 256 << 10 // two entries
	largeAnswer = 4 << 20   // a schema
)

// What a message may be made of. LDAP needs eight levels; each element costs the
// library about 200 bytes, and each level a copy of all that is in it.
const (
	maxDepth    = 16
	maxElements = 20_000
)

var (
	errTooLarge = errors.New("the answer is too large")
	errShape    = errors.New("what it sends is not LDAP")
)

// A gate is a connection from which whole messages come, of a size and a shape that
// LDAP can have: go-ldap itself takes whatever is sent.
type gate struct {
	net.Conn
	left  atomic.Int64 // bytes that may still come
	in    *bufio.Reader
	ready []byte // of a message, not read yet
}

func newGate(nc net.Conn) *gate {
	g := &gate{Conn: nc, in: bufio.NewReader(nc)}
	g.allow(smallAnswer)
	return g
}

// allow says how much may come from now on.
func (g *gate) allow(n int64) { g.left.Store(n) }

// full tells whether more has come.
func (g *gate) full() bool { return g.left.Load() < 0 }

// Read implements net.Conn.
func (g *gate) Read(p []byte) (int, error) {
	if len(g.ready) == 0 {
		m, err := g.message()
		if err != nil {
			return 0, err
		}
		g.ready = m
	}
	n := copy(p, g.ready)
	g.ready = g.ready[n:]
	return n, nil
}

// message reads one: a sequence of definite length (RFC 4511 §5.1).
func (g *gate) message() ([]byte, error) {
	head, err := g.in.Peek(2)
	if err != nil {
		return nil, err
	}
	if head, err = g.in.Peek(2 + lengthOfLength(head[1])); err != nil {
		return nil, err
	}
	body, size, ok := element(head)
	if !ok || head[0] != 0x30 {
		return nil, errShape
	}
	if g.left.Add(-int64(body+size)) < 0 {
		return nil, errTooLarge
	}
	m := make([]byte, body+size)
	if _, err := io.ReadFull(g.in, m); err != nil {
		return nil, err
	}
	n, ok := count(m, maxDepth)
	switch {
	case n > maxElements:
		g.left.Store(-1)
		return nil, errTooLarge
	case !ok:
		return nil, errShape
	}
	return m, nil
}

// lengthOfLength is how many bytes follow the first one of a length: X.690 §8.1.3.
func lengthOfLength(first byte) int {
	if first < 0x80 {
		return 0
	}
	return int(first & 0x7f)
}

// element reads the head of an element: where its body begins and how long that is.
// LDAP has no tags of several bytes, nor lengths of more than four.
func element(b []byte) (body, size int, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f || b[1] == 0x80 {
		return 0, 0, false
	}
	n := lengthOfLength(b[1])
	if n == 0 {
		return 2, int(b[1]), true
	}
	if n > 4 || len(b) < 2+n {
		return 0, 0, false
	}
	for _, c := range b[2 : 2+n] {
		size = size<<8 | int(c)
	}
	return 2 + n, size, size>>31 == 0
}

// count counts elements, and those in them; ok is false if they are not well formed.
func count(b []byte, depth int) (n int, ok bool) {
	for len(b) > 0 {
		body, size, ok := element(b)
		if !ok || depth == 0 || size > len(b)-body {
			return n, false
		}
		n++
		if b[0]&0x20 != 0 { // constructed
			inner, ok := count(b[body:body+size], depth-1)
			if n += inner; !ok || n > maxElements {
				return n, false
			}
		}
		b = b[body+size:]
	}
	return n, true
}
