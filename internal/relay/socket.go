package relay

import (
	"encoding/binary"
	"errors"
	"net"
)

// A Socket is the connection under a tls.Conn. It is an ordinary blocking one
// until an engine that never blocks takes it over: then that engine writes, and what
// can be read is what it has brought. What was read of the connection before there
// was a Socket is brought, too.
//
// A long record that was brought is read to its end and not beyond. crypto/tls keeps
// the room that it has once needed for as long as the connection lives: 18 KB for the
// longest record, but twice as much if the next one has begun in it.
type Socket struct {
	net.Conn
	engine interface { // nil: blocking
		writeSocket(b []byte) (int, error)
	}
	brought []byte
	behind  error   // what is read when all that was brought is read
	header  [5]byte // of the record that is being read: its type, its version, its length
	have    uint8   // bytes of the header
	left    int32   // bytes of the record behind its header
}

// NewSocket returns a Socket over a connection, to be given to tls.Server or
// tls.Client. Without it a leg can be relayed by Goroutines only. ahead was read
// already, and belongs to the handshake.
func NewSocket(nc net.Conn, ahead ...byte) *Socket { return &Socket{Conn: nc, brought: ahead} }

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (n int, err error) {
	switch {
	case s.engine == nil && len(s.brought) == 0:
		n, err = s.Conn.Read(b)
	case len(s.brought) == 0:
		return 0, s.behind
	default:
		n = copy(b[:min(len(b), s.most())], s.brought)
		s.brought = s.brought[n:]
	}
	s.follow(b[:n])
	return n, err
}

// most is how much may be read at once: the rest of a record, or where one begins
// many short ones or the first of a long one.
func (s *Socket) most() int {
	if s.left > 0 {
		return int(s.left)
	}
	return 1 << 10
}

// follow notes where records end.
func (s *Socket) follow(b []byte) {
	for len(b) > 0 {
		if s.left == 0 {
			n := copy(s.header[s.have:], b)
			s.have += uint8(n)
			b = b[n:]
			if int(s.have) < len(s.header) {
				return
			}
			s.have, s.left = 0, int32(binary.BigEndian.Uint16(s.header[3:]))
		}
		n := min(len(b), int(s.left))
		s.left -= int32(n)
		b = b[n:]
	}
}

// within tells whether a record has come in part.
func (s *Socket) within() bool { return s.have > 0 || s.left > 0 }

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if s.engine != nil {
		return s.engine.writeSocket(b)
	}
	return s.Conn.Write(b)
}

// errAgain says that there is nothing to read now. crypto/tls goes on after
// errors that call themselves temporary, and keeps the part of a record that it
// has.
var errAgain error = again{errors.New("nothing to read now")}

type again struct{ error }

func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }
