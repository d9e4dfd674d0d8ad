package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// A conn is a connection to a server, for one request at a time.
type conn struct {
	*ldap.Conn
	raw    net.Conn // below TLS
	gate   *gate
	lost   bool      // it cannot be used any more
	used   time.Time // when something was asked last, …
	needed time.Time // … and not only to see whether somebody is there
}

func newConn(raw, secured net.Conn) *conn {
	g := newGate(secured)
	c := &conn{Conn: ldap.NewConn(g, secured != raw), raw: raw, gate: g, needed: time.Now()}
	c.Start()
	return c
}

// errLost says that a connection ended without an answer, and without our doing.
var errLost = errors.New("the connection is lost")

// do makes a request, to which the server may answer with so many bytes. go-ldap knows
// no context, so that the end of ctx is the end of the connection; its goroutines end
// with it, also while the other side is frozen.
func (c *conn) do(ctx context.Context, answer int64, request func(*ldap.Conn) error) error {
	c.gate.allow(answer)
	stop := context.AfterFunc(ctx, c.cut)
	err := request(c.Conn)
	_, answered := result(err)
	c.lost = !stop() || !answered
	c.used = time.Now()
	switch {
	case answered, errors.Is(err, ldap.ErrSizeLimitExceeded):
		return err
	case c.gate.full():
		return fmt.Errorf("%w: more than %d bytes", errTooLarge, answer)
	case ctx.Err() != nil:
		return fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return fmt.Errorf("%w: %.200q", errLost, unwrap(err).Error())
}

// cut ends the connection at once.
func (c *conn) cut() { _ = c.raw.Close() }

// usable tells whether it can take another request, as far as we have heard.
func (c *conn) usable() bool { return !c.lost && !c.IsClosing() }

// goodbye is for how long an end may take to be told to the server.
const goodbye = time.Second

// end closes the connection; a server that may listen still hears so.
func (c *conn) end() {
	if c.usable() {
		_ = c.raw.SetDeadline(time.Now().Add(goodbye))
		_ = c.Unbind()
	}
	c.cut()
	_ = c.Close() // ends the library's goroutines
}
