package sql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// mostBytes is how much a server may say in one go: more than 100 columns of the
// largest value.
const mostBytes = 16 << 20

// bounded is a connection to a server that is asked and answers: what it may say
// between two questions has a bound, since the MySQL driver keeps a row of any length
// in memory.
type bounded struct {
	net.Conn
	left int
}

func dialBounded(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &bounded{c, mostBytes}, nil
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", mostBytes)
	}
	n, err := b.Conn.Read(p)
	b.left -= n
	return n, err
}

func (b *bounded) Write(p []byte) (int, error) {
	b.left = mostBytes
	return b.Conn.Write(p)
}

// SyscallConn lets the driver look whether the server has closed the connection.
func (b *bounded) SyscallConn() (syscall.RawConn, error) {
	if c, ok := b.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.New("not a socket")
}
