package soak

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// patience is how long anything may take before it counts as an error.
const patience = 20 * time.Second

// A dialect is how a protocol says what we need of it.
type dialect struct {
	greeting string
	login    []exchange // with the user's name for %s
	noop     exchange
	logout   exchange
}

// An exchange is a line, and how its answer begins.
type exchange struct{ say, hear string }

var (
	imap = &dialect{
		"* OK",
		[]exchange{{"a LOGIN %s " + password, "a OK"}},
		exchange{"b NOOP", "b OK"},
		exchange{"c LOGOUT", "c OK"},
	}
	pop3 = &dialect{
		"+OK",
		[]exchange{{"USER %s", "+OK"}, {"PASS " + password, "+OK"}},
		exchange{"NOOP", "+OK"},
		exchange{"QUIT", "+OK"},
	}
)

// A client is one connection to usher.
type client struct {
	net.Conn
	in *bufio.Reader
	*dialect
}

// enter connects and logs in. The number chooses the way and the account.
func enter(ctx context.Context, u *usher, i int) (*client, error) {
	d := u.doors[i%len(u.doors)]
	nc, err := dial(ctx, u, d)
	if err != nil {
		return nil, err
	}
	c := &client{nc, bufio.NewReaderSize(nc, 512), d.dialect}
	_ = c.SetDeadline(time.Now().Add(patience))
	err = c.hear(c.greeting)
	for _, x := range c.login {
		if err == nil {
			err = c.exchange(exchange{strings.Replace(x.say, "%s", user(i), 1), x.hear})
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: %w", d.addr, err)
	}
	return c, nil
}

func dial(ctx context.Context, u *usher, d door) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if d.tls {
		return (&tls.Dialer{Config: u.tls}).DialContext(ctx, "tcp", d.addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", d.addr)
}

func (c *client) exchange(x exchange) error {
	if _, err := io.WriteString(c, x.say+"\r\n"); err != nil {
		return err
	}
	if err := c.hear(x.hear); err != nil {
		return fmt.Errorf("after %q: %w", x.say, err)
	}
	return nil
}

// hear waits for a line that begins so.
func (c *client) hear(want string) error {
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, want):
			return nil
		case !strings.HasPrefix(line, "* "): // IMAP's untagged ones
			return fmt.Errorf("heard %q, want %q", line, want)
		}
	}
}

// ask sends NOOP.
func (c *client) ask() error {
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.exchange(c.noop)
}

// leave logs out and waits for usher to close.
func (c *client) leave() error {
	if err := c.exchange(c.logout); err != nil {
		return err
	}
	if _, err := c.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("after %q: %v, want the end", c.logout.say, err)
	}
	return nil
}
