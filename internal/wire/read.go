package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// ReadLine returns the peer's next line without its end, which may be CRLF or
// LF. What was written before is sent first, unless a whole line waits already:
// answers to pipelined lines leave together. After any error but ErrUnclean,
// which comes with the line, there are no more lines.
func (c *Conn) ReadLine() (string, error) {
	line, err := c.keep(c.readLine)
	c.hearing(line, err, false)
	return line, err
}

func (c *Conn) readLine() (string, error) {
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
		return string(line), ErrUnclean
	}
	return string(line), nil
}

// ReadN returns the next n bytes, at most MaxLiteral.
func (c *Conn) ReadN(n int) (string, error) {
	text, err := c.keep(func() (string, error) { return c.readN(n) })
	c.hearing(text, err, true)
	return text, err
}

func (c *Conn) readN(n int) (string, error) {
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

// keep reads unless a read has failed before.
func (c *Conn) keep(read func() (string, error)) (string, error) {
	if c.ended != nil {
		return "", c.ended
	}
	s, err := read()
	if err != nil && !errors.Is(err, ErrUnclean) {
		c.ended = err
	}
	return s, err
}

// Await waits for the peer to say its first word, which it must do by until.
func (c *Conn) Await(until time.Time) error {
	c.setReadDeadline(until)
	_, err := c.in.Peek(1)
	if err != nil {
		return c.explain(err)
	}
	return nil
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
	if err := c.expired(); err != nil {
		return err // also with more to read: who sends much ahead must not outstay
	}
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

// expired tells whether the conversation is over whatever the peer has sent.
func (c *Conn) expired() error {
	if until := c.bounds.Until; !until.IsZero() && time.Now().After(until) {
		return c.explain(os.ErrDeadlineExceeded)
	}
	return c.explain(nil)
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

func (c *Conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		t = past
	}
	_ = c.raw.SetReadDeadline(t)
}

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

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

// Ahead tells whether the peer has sent more than was read.
func (c *Conn) Ahead() bool { return c.in.Buffered() > 0 }
