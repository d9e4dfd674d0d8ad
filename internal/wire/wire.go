// Package wire is one end of a conversation in lines: bounds on what the peer
// may send and how long it may take, a writer that lets no line be split, TLS
// in mid-conversation, and Detach, which ends the conversation and gives the
// connection away.
//
// A Conn is used by one goroutine. Only Interrupt may be called from others.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
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

	mu          sync.Mutex // of what Interrupt touches: interrupted, and raw while drop takes it away
	interrupted bool
}

// readers are shared: before login a connection holds one, after login none.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, MaxLine) }}

// New returns a Conn over nc, which it owns.
func New(nc net.Conn, b Bounds) *Conn {
	c := &Conn{raw: nc, rw: nc, bounds: b, in: readers.Get().(*bufio.Reader)}
	c.in.Reset(nc)
	return c
}

// ReadLine returns the peer's next line without its end, which may be CRLF or
// LF. What was written before is sent first, unless a whole line waits already:
// answers to pipelined lines leave together.
func (c *Conn) ReadLine() (string, error) {
	if err := c.prepare(c.hasLine()); err != nil {
		return "", err
	}
	line, err := c.in.ReadSlice('\n')
	c.bytes += len(line)
	c.lines++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", ErrTooLong
	case err != nil:
		return "", c.explain(err)
	case c.over():
		return "", ErrTooMuch
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if bytes.ContainsAny(line, "\r\x00") {
		return "", ErrUnclean
	}
	return string(line), nil
}

// ReadN returns the next n bytes, at most MaxLiteral.
func (c *Conn) ReadN(n int) (string, error) {
	if n > MaxLiteral {
		return "", ErrTooLong
	}
	if err := c.prepare(c.in.Buffered() >= n); err != nil {
		return "", err
	}
	b := make([]byte, n)
	got, err := io.ReadFull(c.in, b)
	c.bytes += got
	switch {
	case err != nil:
		return "", c.explain(err)
	case c.over():
		return "", ErrTooMuch
	case bytes.IndexByte(b, 0) >= 0:
		return "", ErrUnclean
	}
	return string(b), nil
}

func (c *Conn) hasLine() bool {
	b, _ := c.in.Peek(c.in.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

func (c *Conn) over() bool {
	b := c.bounds
	return b.Bytes > 0 && c.bytes > b.Bytes || b.Lines > 0 && c.lines > b.Lines
}

// prepare makes ready to read. The peer may think as long as the conversation
// lasts; what it has begun to say it must finish within a step.
func (c *Conn) prepare(buffered bool) error {
	if buffered {
		return nil
	}
	if err := c.Flush(); err != nil {
		return err
	}
	if c.in.Buffered() == 0 {
		c.setReadDeadline(c.bounds.Until)
		if _, err := c.in.Peek(1); err != nil {
			return c.explain(err)
		}
	}
	c.setReadDeadline(c.stepEnd())
	return nil
}

func (c *Conn) stepEnd() time.Time {
	if c.bounds.Step == 0 {
		return c.bounds.Until
	}
	end := time.Now().Add(c.bounds.Step)
	if until := c.bounds.Until; !until.IsZero() && until.Before(end) {
		return until
	}
	return end
}

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// writeEnd is a step from now, also at the end of the conversation: the reason
// for its end must still leave.
func (c *Conn) writeEnd() time.Time {
	if c.bounds.Step == 0 {
		return c.bounds.Until
	}
	return time.Now().Add(c.bounds.Step)
}

func (c *Conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		t = past
	}
	_ = c.raw.SetReadDeadline(t)
}

// Interrupt ends the read that waits now and those to come with ErrInterrupted.
// What is written afterwards still leaves.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.raw != nil {
		_ = c.raw.SetReadDeadline(past)
	}
}

func (c *Conn) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return ErrInterrupted
	}
	return err
}

// WriteLine queues one line, its parts joined and its end added. It refuses a
// part with CR, LF or NUL, so that no part can begin a line of its own. An error
// is kept: it ends the conversation at the next Flush or read.
func (c *Conn) WriteLine(parts ...string) error {
	for _, p := range parts {
		if strings.ContainsAny(p, "\r\n\x00") && c.err == nil {
			c.err = fmt.Errorf("write: %w", ErrUnclean)
		}
	}
	if c.err != nil {
		return c.err
	}
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	c.out = append(c.out, '\r', '\n')
	if len(c.out) >= flushAt {
		return c.Flush()
	}
	return nil
}

// Flush sends what was queued.
func (c *Conn) Flush() error {
	if c.err != nil || len(c.out) == 0 {
		return c.err
	}
	_ = c.raw.SetWriteDeadline(c.writeEnd())
	_, c.err = c.rw.Write(c.out)
	c.out = c.out[:0]
	return c.err
}

// Ahead tells whether the peer has sent more than was read.
func (c *Conn) Ahead() bool { return c.in.Buffered() > 0 }

// StartTLS sends what was queued and goes on under TLS, which start begins over
// the connection that it is given: tls.Server or tls.Client. Bytes that the peer
// sent in clear behind its last line end the conversation: they would otherwise
// be taken for protected ones.
func (c *Conn) StartTLS(ctx context.Context, start func(net.Conn) *tls.Conn) error {
	if c.Ahead() {
		return ErrEarly
	}
	if err := c.Flush(); err != nil {
		return err
	}
	t := start(c.raw)
	c.setReadDeadline(c.stepEnd())
	_ = c.raw.SetWriteDeadline(c.writeEnd())
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", c.explain(err))
	}
	c.tls, c.rw = t, t
	c.in.Reset(t)
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
	var ahead []byte
	if n := c.in.Buffered(); n > 0 {
		ahead = make([]byte, n)
		_, _ = io.ReadFull(c.in, ahead)
	}
	leg := relay.Leg{Conn: c.raw, TLS: c.tls, Pending: ahead}
	c.drop()
	_ = leg.Conn.SetDeadline(time.Time{})
	return leg
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
