package interop

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A client speaks IMAP or POP3 in lines. It fails the test when it does not hear
// what it expects.
type client struct {
	net.Conn
	protocol string
	r        *bufio.Reader
	t        testing.TB
}

func dial(t testing.TB, protocol, addr string) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	return newClient(t, protocol, c)
}

func newClient(t testing.TB, protocol string, nc net.Conn) *client {
	return &client{Conn: nc, protocol: protocol, r: bufio.NewReaderSize(nc, 64<<10), t: t}
}

// client connects and hears the greeting; TLS is none, starttls or implicit.
func (p *proxy) client(t testing.TB, protocol, security string) *client {
	t.Helper()
	if security == "implicit" {
		c := dial(t, protocol, p.addrs[protocol+"s"])
		c.secure(p.ca)
		c.greeting()
		return c
	}
	c := dial(t, protocol, p.addrs[protocol])
	c.greeting()
	if security == "starttls" {
		c.startTLS(p.ca)
	}
	return c
}

// oldClient comes by implicit TLS 1.2.
func (p *proxy) oldClient(t testing.TB, protocol string) *client {
	t.Helper()
	c := dial(t, protocol, p.addrs[protocol+"s"])
	c.secureBy(p.ca, tls.VersionTLS12)
	c.greeting()
	return c
}

func (c *client) greeting() {
	c.t.Helper()
	if c.protocol == "imap" {
		c.expect("* OK [CAPABILITY IMAP4rev1 ")
	} else {
		c.expect("+OK ")
	}
}

func (c *client) startTLS(ca string) {
	c.t.Helper()
	command := map[string]string{"imap": "a STARTTLS", "pop3": "STLS"}[c.protocol]
	if answer := c.ask("%s", command); !isOK(answer) {
		c.t.Fatalf("%s: %s", command, answer)
	}
	c.secure(ca)
}

func (c *client) secure(ca string) { c.t.Helper(); c.secureBy(ca, tls.VersionTLS13) }

// secureBy begins TLS of a version at most.
func (c *client) secureBy(ca string, most uint16) {
	c.t.Helper()
	t := tls.Client(c.Conn, &tls.Config{RootCAs: roots(c.t, ca), ServerName: "localhost", MaxVersion: most})
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = t, bufio.NewReaderSize(t, 64<<10)
}

func roots(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if text, err := os.ReadFile(file); err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s: %v", file, err)
	}
	return pool
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, l)
	}
	return strings.TrimSuffix(l, "\r\n")
}

// expect reads one line, which must begin so.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	l := c.line()
	if !strings.HasPrefix(l, prefix) {
		c.t.Fatalf("got %q, want %q", l, prefix)
	}
	return l
}

// until reads up to the first line that begins so.
func (c *client) until(prefix string) string {
	c.t.Helper()
	for {
		if l := c.line(); strings.HasPrefix(l, prefix) {
			return l
		}
	}
}

// answer reads up to the answer of a command, whose tag is a.
func (c *client) answer() string {
	c.t.Helper()
	if c.protocol == "imap" {
		return c.until("a ")
	}
	return c.line()
}

// ask sends one command and reads its answer.
func (c *client) ask(format string, args ...any) string {
	c.t.Helper()
	c.send(format, args...)
	return c.answer()
}

func isOK(answer string) bool {
	return strings.HasPrefix(answer, "a OK ") || strings.HasPrefix(answer, "+OK")
}

// ended reports whether the peer closes the connection now, in order.
func (c *client) ended() bool {
	_, err := c.r.ReadByte()
	return err == io.EOF
}

// A way is one way to log in. The function returns the answer.
type way struct {
	protocol, name string
	login          func(c *client, user, password string) string
}

func (w way) String() string { return w.protocol + " " + w.name }

var ways = []way{
	{"imap", "LOGIN quoted", loginQuoted},
	{"imap", "LOGIN literal", loginLiteral},
	{"imap", "LOGIN literal+", loginLiteralPlus},
	{"imap", "AUTHENTICATE PLAIN", authPlain},
	{"imap", "AUTHENTICATE PLAIN initial", authPlainInitial},
	{"imap", "AUTHENTICATE LOGIN", authLogin},
	{"pop3", "USER PASS", userPass},
	{"pop3", "AUTH PLAIN", authPlain},
	{"pop3", "AUTH PLAIN initial", authPlainInitial},
	{"pop3", "AUTH LOGIN", authLogin},
}

func loginQuoted(c *client, user, password string) string {
	q := strings.NewReplacer(`"`, `\"`, `\`, `\\`)
	return c.ask(`a LOGIN "%s" "%s"`, q.Replace(user), q.Replace(password))
}

func loginLiteral(c *client, user, password string) string {
	c.send("a LOGIN {%d}", len(user))
	c.expect("+")
	c.send("%s {%d}", user, len(password))
	c.expect("+")
	return c.ask("%s", password)
}

func loginLiteralPlus(c *client, user, password string) string {
	return c.ask("a LOGIN {%d+}\r\n%s {%d+}\r\n%s", len(user), user, len(password), password)
}

func userPass(c *client, user, password string) string {
	c.send("USER %s", user)
	c.expect("+OK")
	return c.ask("PASS %s", password)
}

// auth is the command that begins SASL.
func (c *client) auth() string {
	if c.protocol == "imap" {
		return "a AUTHENTICATE"
	}
	return "AUTH"
}

func plain(user, password string) string { return encode("\x00" + user + "\x00" + password) }

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func authPlain(c *client, user, password string) string {
	c.send("%s PLAIN", c.auth())
	c.expect("+ ")
	return c.ask("%s", plain(user, password))
}

func authPlainInitial(c *client, user, password string) string {
	return c.ask("%s PLAIN %s", c.auth(), plain(user, password))
}

func authLogin(c *client, user, password string) string {
	c.send("%s LOGIN", c.auth())
	c.expect("+ " + encode("Username:"))
	c.send("%s", encode(user))
	c.expect("+ " + encode("Password:"))
	return c.ask("%s", encode(password))
}

// login logs in by the commonest way.
func (c *client) login(user, password string) string {
	if c.protocol == "imap" {
		return loginQuoted(c, user, password)
	}
	return userPass(c, user, password)
}

// enter logs in, and must be let in.
func (c *client) enter(user, password string) {
	c.t.Helper()
	if answer := c.login(user, password); !isOK(answer) {
		c.t.Fatalf("%s: %s", user, answer)
	}
}

// subject is that of the first message.
func (c *client) subject() string {
	c.t.Helper()
	const field = "Subject: "
	if c.protocol == "imap" {
		c.ask("a SELECT INBOX")
		c.send("b FETCH 1 BODY.PEEK[HEADER]")
		s := c.until(field)
		c.until("b OK")
		return strings.TrimPrefix(s, field)
	}
	c.send("TOP 1 0")
	s := c.until(field)
	c.until(".")
	return strings.TrimPrefix(s, field)
}
