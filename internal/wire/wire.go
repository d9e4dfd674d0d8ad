// Package wire is one end of a conversation in lines: bounds on what the peer
// may send and how long it may take, a writer that lets no line be split, TLS
// in mid-conversation, and Detach, which ends the conversation and gives the
// connection away.
//
// A Conn is used by one goroutine. Only Interrupt may be called from others.
package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"usher/internal/relay"
)

const (
	// MaxLine is how long a line may be, in bytes with its end.
	MaxLine = 8 << 10
	// MaxLiteral is how long a literal may be, in bytes.
	MaxLiteral = 4 << 10
	// flushAt is how much is gathered before it is written without being asked.
	flushAt = 4 << 10
)

var (
	// ErrTooLong says that the peer's line or literal is over the bound.
	ErrTooLong = errors.New("line or literal too long")
	// ErrTooMuch says that the peer has sent more than a conversation may hold.
	ErrTooMuch = errors.New("too many bytes or lines")
	// ErrUnclean says that a line holds a CR, LF or NUL.
	ErrUnclean = errors.New("CR, LF or NUL within a line")
	// ErrEarly says that the peer sent bytes before TLS that would have been
	// taken for bytes under TLS: CVE-2011-0411 and its kin.
	ErrEarly = errors.New("bytes sent in clear behind STARTTLS")
	// ErrInterrupted says that Interrupt was called.
	ErrInterrupted = errors.New("interrupted")
)

// Bounds are what a peer may take of us. Zero fields are unlimited.
type Bounds struct {
	Step  time.Duration // for a line once it has begun, and for each write
	Until time.Time     // for the whole conversation
	Bytes int           // received in all
	Lines int           // received in all
}

// A Conn is one end of a conversation in lines.
type Conn struct {
	raw    net.Conn
	tls    *tls.Conn
	rw     net.Conn // tls, or else raw
	in     *bufio.Reader
	out    []byte
	bounds Bounds
	bytes  int
	lines  int
	err    error // of a write; it ends the conversation
	ended  error // of a read; what would be read next need not begin a line

	witness Witness

	mu          sync.Mutex // of what Interrupt touches: interrupted, and raw while drop takes it away
	interrupted bool
}

// readers are shared: before login a connection holds one, after login none.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, MaxLine) }}

// New returns a Conn over nc, which it owns.
func New(nc net.Conn, b Bounds) *Conn {
	c := &Conn{raw: nc, rw: nc, bounds: b, in: readers.Get().(*bufio.Reader), witness: nobody{}}
	c.in.Reset(nc)
	return c
}

// Under returns a Conn that goes on over a connection which is under TLS already, and
// which it owns: tls.Client or tls.Server over a relay.Socket.
func Under(t *tls.Conn, b Bounds) *Conn {
	c := New(t, b)
	c.tls, c.raw = t, t.NetConn()
	if s, ok := c.raw.(*relay.Socket); ok {
		c.raw = s.Conn
	}
	return c
}

// Preface gives a function what the peer says before its first line, which it must
// do by until. The function reads no further than the preface goes.
func (c *Conn) Preface(until time.Time, read func(*bufio.Reader) error) error {
	c.setReadDeadline(until)
	err := read(c.in)
	if err != nil {
		return c.explain(err)
	}
	return nil
}

// ServeTLS sends what was queued and goes on under TLS, as the side that was called. Bytes
// that the peer sent in clear behind its last line end the conversation: they would
// otherwise be taken for protected ones. Behind a Preface they are the handshake's.
func (c *Conn) ServeTLS(ctx context.Context, cfg *tls.Config) error {
	return c.startTLS(ctx, relay.Server, cfg)
}

// EnterTLS is ServeTLS for the side that calls.
func (c *Conn) EnterTLS(ctx context.Context, cfg *tls.Config) error {
	return c.startTLS(ctx, relay.Client, cfg)
}

func (c *Conn) startTLS(ctx context.Context, side func(net.Conn, *tls.Config, ...byte) *tls.Conn, cfg *tls.Config) error {
	if c.Ahead() && c.lines > 0 {
		return ErrEarly
	}
	if err := c.Flush(); err != nil {
		return err
	}
	t := side(c.raw, cfg, c.takeAhead()...)
	c.setReadDeadline(c.stepEnd())
	_ = c.raw.SetWriteDeadline(c.writeEnd())
	if err := t.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS handshake: %w", c.explain(err))
		c.shaken(err)
		return err
	}
	c.tls, c.rw = t, t
	c.in.Reset(t)
	c.shaken(nil)
	return nil
}

// TLS returns the state of the encryption, or nil if there is none.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	state := c.tls.ConnectionState()
	return &state
}

// Detach ends the life of the Conn and gives the connection to whom relays it,
// with what the peer has sent ahead. The caller has called Flush.
func (c *Conn) Detach() relay.Leg {
	leg := relay.Leg{Conn: c.raw, TLS: c.tls, Pending: c.takeAhead()}
	c.drop()
	_ = leg.Conn.SetDeadline(time.Time{})
	return leg
}

// takeAhead is what the peer has sent ahead, which is not read here any more.
func (c *Conn) takeAhead() (ahead []byte) {
	if n := c.in.Buffered(); n > 0 {
		ahead = make([]byte, n)
		_, _ = io.ReadFull(c.in, ahead)
	}
	return ahead
}

// Ends are the addresses of the connection: ours and the peer's.
func (c *Conn) Ends() (ours, theirs netip.AddrPort) {
	return AddrPort(c.raw.LocalAddr()), AddrPort(c.raw.RemoteAddr())
}

// AddrPort is the address of a TCP connection; zero if it is another.
func AddrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// Close ends the conversation. After Detach it does nothing.
func (c *Conn) Close() error {
	if c.rw == nil {
		return nil
	}
	rw := c.rw
	c.drop()
	return rw.Close()
}

// drop makes the Conn unusable and its reader free.
func (c *Conn) drop() {
	c.in.Reset(nil)
	readers.Put(c.in)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.rw, c.tls, c.in, c.out = nil, nil, nil, nil, nil
}
