package relay

import (
	"encoding/binary"
	"errors"
	"io"
	"net"

	"usher/internal/relay/record"
)

// A Socket is the connection under a tls.Conn. It is an ordinary blocking one until an
// engine takes it over, and brings crypto/tls one whole record at a time: so crypto/tls
// never holds a part of one, nor the beginning of the next, and how many records have
// come and gone is known. What was read of the connection before there was a Socket is
// brought, too.
//
// With the secrets that crypto/tls tells it a connection of TLS 1.3 is known whole: an
// engine may go on with it without crypto/tls. See keys.go, where Sockets are made: a
// leg without one can be relayed by Goroutines only.
//
// Where an engine goes on with crypto/tls, that engine writes, and what can be read is
// what it has brought.
type Socket struct {
	net.Conn
	engine interface { // nil: blocking
		writeSocket(b []byte) (int, error)
	}
	brought []byte // by the engine
	behind  error  // what is read when all that was brought is read
	follow  follower

	room    []byte // where Conn is read into
	ahead   []byte // read from Conn, and not brought to crypto/tls
	left    int    // of ahead: the record that is being brought
	stopped bool   // no more is brought to crypto/tls
	cut     bool   // Conn has ended, and TLS has not

	server  bool // we are the side that was called
	secrets secrets
	in, out record.Last
}

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (n int, err error) {
	switch {
	case s.left == 0 && s.engine != nil && len(s.ahead) == 0:
		return s.readBrought(b)
	case s.left == 0 && s.stopped:
		return 0, errAgain
	}
	for s.left == 0 {
		if s.left = s.whole(); s.left > 0 {
			break
		}
		if s.engine != nil { // what is there is the beginning of what will be brought
			s.brought, s.ahead = append(s.ahead, s.brought...), nil
			return s.readBrought(b)
		}
		if err := s.fetch(); err != nil {
			return 0, err
		}
	}
	n = copy(b[:min(len(b), s.left)], s.ahead)
	s.ahead = s.ahead[n:]
	s.left -= n
	return n, nil
}

// headerSize is that of a record: RFC 8446 §5.1.
const headerSize = 5

// maxBody is how long a record can be behind its header, in any version of TLS.
const maxBody = 1<<14 + 2048

// whole is how many bytes of what is ahead crypto/tls may have: a record that is there
// to its end, or whatever is no record: it will say what is wrong with it.
func (s *Socket) whole() int {
	if len(s.ahead) < headerSize {
		return 0
	}
	n := headerSize + int(binary.BigEndian.Uint16(s.ahead[3:]))
	switch {
	case s.ahead[0] < 20 || s.ahead[0] > 23 || s.ahead[1] != 3 || n > headerSize+maxBody:
		return len(s.ahead)
	case n > len(s.ahead):
		return 0
	}
	note(&s.in, s.ahead[:n])
	return n
}

// firstRead is the room for what a peer says, at first: a handshake's.
const firstRead = 2 << 10

// fetch reads from the connection, into the room that is there already if it will do.
func (s *Socket) fetch() error {
	want := len(s.ahead) + 1
	if len(s.ahead) >= headerSize {
		want = headerSize + int(binary.BigEndian.Uint16(s.ahead[3:]))
	}
	if cap(s.room) < want {
		s.room = make([]byte, max(want, firstRead))
	}
	room := s.room[:cap(s.room)]
	have := copy(room, s.ahead)
	n, err := s.Conn.Read(room[have:])
	s.ahead = room[:have+n]
	if n > 0 {
		return nil
	}
	s.cut = errors.Is(err, io.EOF)
	return err
}

// readBrought reads what the engine has brought. crypto/tls keeps the room that it has
// once needed for as long as the connection lives: 18 KB for the longest record, but
// twice as much if the next one has begun in it. So it gets no more than that record.
func (s *Socket) readBrought(b []byte) (int, error) {
	if len(s.brought) == 0 {
		return 0, s.behind
	}
	n := copy(b[:min(len(b), s.follow.most())], s.brought)
	s.brought = s.brought[n:]
	s.follow.take(b[:n])
	return n, nil
}

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if s.engine != nil {
		return s.engine.writeSocket(b)
	}
	note(&s.out, b)
	return s.Conn.Write(b)
}

// errAgain says that there is nothing to read now. crypto/tls goes on after
// errors that call themselves temporary, and keeps the part of a record that it
// has.
var errAgain error = again{errors.New("nothing to read now")}

type again struct{ error }

func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }
