package load

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Accounts are how many there are; Password is that of all.
const (
	Accounts = 10_000
	Password = "secret"
)

// User names an account.
func User(i int) string { return fmt.Sprintf("user%d@example.org", i%Accounts) }

// patience is how long anything may take before it is an error.
const patience = time.Minute

// A dialect is how a protocol says what we need of it.
type dialect struct {
	greeting     string
	login        []exchange // with the user's name for %s
	noop, logout exchange
}

// An exchange is a line, and how its answer begins.
type exchange struct{ say, hear string }

var dialects = map[string]*dialect{
	"imap": {
		"* OK",
		[]exchange{{"a LOGIN %s " + Password, "a OK"}},
		exchange{"b NOOP", "b OK"},
		exchange{"c LOGOUT", "c OK"},
	},
	"pop3": {
		"+OK",
		[]exchange{{"USER %s", "+OK"}, {"PASS " + Password, "+OK"}},
		exchange{"NOOP", "+OK"},
		exchange{"QUIT", "+OK"},
	},
}

// A client is one connection.
type client struct {
	net.Conn
	in *bufio.Reader
	*dialect
}

// trust takes any certificate: what it costs to verify one is the client's
// affair. X25519 makes all contenders do the same work but perdition, which knows
// only P-256.
var trust = &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, DynamicRecordSizingDisabled: true}

// enter connects and logs in.
func enter(d Door, user string) (*client, error) {
	nc, err := (&net.Dialer{Timeout: patience, KeepAlive: -1}).Dial("tcp", d.Addr)
	if err != nil {
		return nil, err
	}
	if d.TLS {
		nc = tls.Client(nc, trust)
	}
	c := &client{nc, bufio.NewReaderSize(nc, 1024), dialects[d.Protocol]}
	_ = c.SetDeadline(time.Now().Add(patience))
	err = c.hear(c.greeting)
	for _, x := range c.login {
		if err == nil {
			err = c.exchange(exchange{strings.Replace(x.say, "%s", user, 1), x.hear})
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) negotiated() string {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return ""
	}
	s := t.ConnectionState()
	return fmt.Sprintf("%s, %s, %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID)
}

func (c *client) exchange(x exchange) error {
	if _, err := io.WriteString(c, x.say+"\r\n"); err != nil {
		return err
	}
	if err := c.hear(x.hear); err != nil {
		return fmt.Errorf("after %.80q: %w", x.say, err)
	}
	return nil
}

// hear waits for a line that begins so.
func (c *client) hear(want string) error {
	for {
		line, err := c.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(string(line), want):
			return nil
		case !strings.HasPrefix(string(line), "* ") && string(line) != ")\r\n":
			return fmt.Errorf("heard %q, want %q", line, want)
		}
	}
}

// idle is RFC 2177: what most sessions do most of the time.
func (c *client) idle() error {
	if err := c.exchange(exchange{"i IDLE", "+"}); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

func (c *client) wake() error {
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.exchange(exchange{"DONE", "i OK"})
}

// fetch reads a message of n bytes.
func (c *client) fetch(n int) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.exchange(exchange{"f FETCH 1 BODY.PEEK[]<0." + strconv.Itoa(n) + ">", "* 1 FETCH"}); err != nil {
		return err
	}
	if err := c.discard(n); err != nil {
		return err
	}
	return c.hear("f OK")
}

// append has the store keep a message of n bytes.
func (c *client) append(n int) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	message := fmt.Sprintf("g APPEND INBOX {%d+}\r\n%s", n, strings.Repeat("x", n))
	return c.exchange(exchange{message, "g OK"})
}

// discard reads past the small buffer once that is empty.
func (c *client) discard(n int) error {
	got, err := c.in.Discard(min(n, c.in.Buffered()))
	buf := make([]byte, 256<<10)
	for n -= got; n > 0 && err == nil; n -= got {
		got, err = c.Read(buf[:min(n, len(buf))])
	}
	return err
}

// leave logs out and waits for the end.
func (c *client) leave() error {
	defer c.Close()
	if err := c.exchange(c.logout); err != nil {
		return err
	}
	switch b, err := c.in.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("after %q, instead of the end: %w", c.logout.say, err)
	default:
		return fmt.Errorf("after %q: heard %q, want the end", c.logout.say, b)
	}
}
