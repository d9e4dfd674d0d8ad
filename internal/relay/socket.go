package relay

import (
	"errors"
	"net"
)

// A Socket is the connection under a tls.Conn. It is an ordinary blocking one
// until an engine that never blocks takes it over: then reads and writes go to
// that engine.
type Socket struct {
	net.Conn
	engine interface { // nil: blocking
		readSocket(b []byte) (int, error)
		writeSocket(b []byte) (int, error)
	}
}

// NewSocket returns a Socket over a connection, to be given to tls.Server or
// tls.Client. Without it a leg can be relayed by Goroutines only.
func NewSocket(nc net.Conn) *Socket { return &Socket{Conn: nc} }

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	if s.engine != nil {
		return s.engine.readSocket(b)
	}
	return s.Conn.Read(b)
}

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
