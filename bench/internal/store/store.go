// Package store is a mail store that knows next to nothing and costs next to
// nothing: it says yes to every login and has one endless message. It speaks
// what proxies ask of a store, with the words of a real one.
package store

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
)

// Serve accepts until the listener is closed, and talks to each client.
func Serve(ln net.Listener, talk func(*Client)) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			talk(&Client{conn: nc, in: bufio.NewReaderSize(nc, 512)})
		}()
	}
}

// A Client is a connection to the store.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// say queues an answer.
func (c *Client) say(parts ...string) {
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
}

// line reads a line without its end. Answers leave when no more lines wait.
func (c *Client) line() (string, bool) {
	if c.in.Buffered() == 0 && c.flush() != nil {
		return "", false
	}
	line, err := c.in.ReadSlice('\n')
	return string(bytes.TrimRight(line, "\r\n")), err == nil
}

func (c *Client) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// text is what messages are made of: lines, as in mail.
var text = bytes.Repeat([]byte("All work and no play makes Jack a dull boy, says the usher at the door.\r\n"), 256<<10/73)

// pour sends n bytes of mail.
func (c *Client) pour(n int) error {
	for err := c.flush(); n > 0; n -= min(n, len(text)) {
		if err == nil {
			_, err = c.conn.Write(text[:min(n, len(text))])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skip passes over n bytes that the client sends.
func (c *Client) skip(n int) bool {
	if c.flush() != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, c.in, int64(n))
	return err == nil
}

// number reads what stands between two marks, else it is 0.
func number(s, open, end string) int {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, end)
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
