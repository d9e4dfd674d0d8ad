package dovecot_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// A conn is a client in lines that fails the test when it does not get what it expects.
type conn struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func dial(t *testing.T, addr string) *conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &conn{Conn: c, r: bufio.NewReader(c), t: t}
}

func (c *conn) startTLS(s *dovecot.Server) {
	c.t.Helper()
	tc := tls.Client(c.Conn, &tls.Config{RootCAs: roots(c.t, s.CA), ServerName: s.Host})
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = tc, bufio.NewReader(tc)
}

func roots(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", file)
	}
	return pool
}

func (c *conn) send(format string, a ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format+"\r\n", a...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, l)
	}
	return strings.TrimRight(l, "\r\n")
}

// expect reads one line, which must begin so.
func (c *conn) expect(prefix string) string {
	c.t.Helper()
	l := c.line()
	if !strings.HasPrefix(l, prefix) {
		c.t.Fatalf("got %q, want %q", l, prefix)
	}
	return l
}

// until skips lines up to one that begins so.
func (c *conn) until(prefix string) string {
	c.t.Helper()
	for {
		if l := c.line(); strings.HasPrefix(l, prefix) {
			return l
		}
	}
}

func plain(authz, authn, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(authz + "\x00" + authn + "\x00" + password))
}
