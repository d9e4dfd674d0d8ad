package wire

import (
	"fmt"
	"strings"
	"time"
)

// WriteLine queues one line, its parts joined and its end added. It refuses a
// part with CR, LF or NUL, so that no part can begin a line of its own. An error
// is kept: it ends the conversation at the next Flush or read.
func (c *Conn) WriteLine(parts ...string) error {
	c.saying(parts)
	return c.queue(parts)
}

func (c *Conn) queue(parts []string) error {
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

// Send queues what is no line. An error is kept, as by WriteLine.
func (c *Conn) Send(b []byte) error {
	if c.err == nil {
		c.out = append(c.out, b...)
	}
	return c.err
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

// Unsent gives away what is queued, for somebody else to send before anything else that the
// peer is told. Who has said nothing yet is sent it here: a greeting.
func (c *Conn) Unsent() ([]byte, error) {
	if c.lines == 0 {
		return nil, c.Flush()
	}
	out := c.out
	c.out = nil
	return out, c.err
}

// lastWord is how long the reason for the end may take to leave.
const lastWord = 2 * time.Second

// writeEnd is a step from now, also at the end of the conversation: the reason
// for its end must still leave.
func (c *Conn) writeEnd() time.Time {
	until := c.bounds.Until
	switch {
	case c.bounds.Step > 0:
		return time.Now().Add(c.bounds.Step)
	case until.IsZero() || time.Now().Before(until):
		return until
	}
	return time.Now().Add(lastWord)
}
