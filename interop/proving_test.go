package interop

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/sasl"
)

// A mechanismWay is a mechanism as a client uses it.
type mechanismWay struct {
	name  string
	enter *sasl.Mechanism // nil: APOP
}

var mechanismWays = []mechanismWay{
	{"PLAIN", &sasl.Plain},
	{"LOGIN", &sasl.Login},
	{"CRAM-MD5", &sasl.CRAMMD5},
	{"CRAM-SHA1", &sasl.CRAMSHA1},
	{"CRAM-SHA256", &sasl.CRAMSHA256},
	{"SCRAM-SHA-1", &sasl.SCRAMSHA1},
	{"SCRAM-SHA-256", &sasl.SCRAMSHA256},
	{"SCRAM-SHA-1-PLUS", &sasl.SCRAMSHA1Plus},
	{"SCRAM-SHA-256-PLUS", &sasl.SCRAMSHA256Plus},
	{"EXTERNAL", &sasl.External},
	{"APOP", nil},
}

// shows tells whether a mechanism shows the password, so that a backend can be shown it.
func (w mechanismWay) shows() bool { return w.name == "PLAIN" || w.name == "LOGIN" }

// A secureClient is a client under TLS from the first byte, which may have a certificate.
type secureClient struct {
	*client
	state    tls.ConnectionState
	greeting string
}

func (p *proxy) secureClient(t testing.TB, protocol string, own *tls.Certificate) secureClient {
	t.Helper()
	cfg := &tls.Config{RootCAs: roots(t, p.ca), ServerName: "localhost"}
	if own != nil {
		cfg.Certificates = []tls.Certificate{*own}
	}
	c := dial(t, protocol, p.addrs[protocol+"s"])
	tc := tls.Client(c.Conn, cfg)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn, c.r = tc, bufio.NewReaderSize(tc, 64<<10)
	return secureClient{c, tc.ConnectionState(), c.line()}
}

// offers tells whether the server offers a mechanism.
func (c secureClient) offers(name string) bool {
	if name == "APOP" {
		return strings.Contains(c.greeting, "<")
	}
	if c.protocol == "imap" {
		return slices.Contains(strings.FieldsFunc(c.greeting, func(r rune) bool { return r == ' ' || r == ']' }), "AUTH="+name)
	}
	c.send("CAPA")
	found := false
	for line := c.line(); line != "."; line = c.line() {
		found = found || strings.HasPrefix(line, "SASL ") && slices.Contains(strings.Fields(line), name)
	}
	return found
}

// prove logs in and returns the answer.
func (c secureClient) prove(w mechanismWay, user, password string) string {
	c.t.Helper()
	if w.enter == nil {
		stamp := c.greeting[strings.IndexByte(c.greeting, '<'):]
		sum := md5.Sum([]byte(stamp + password))
		return c.ask("APOP %s %s", user, hex.EncodeToString(sum[:]))
	}
	x := &lines{c: c.client, command: c.auth() + " " + w.name}
	on := sasl.Channel{TLS: &c.state, Certificates: func() []*x509.Certificate { return c.state.PeerCertificates[:1] }}
	err := w.enter.Enter(x, sasl.Credentials{Authn: user, Password: password}, on)
	if err != nil && (!errors.Is(err, sasl.ErrUnproven) || isOK(x.verdict)) { // who refuses need not prove anything
		return fmt.Sprintf("%s, and %v", x.verdict, err)
	}
	return x.verdict
}

// lines is the framing of SASL in IMAP and POP3.
type lines struct {
	c       *client
	command string
	begun   bool
	verdict string
}

func (x *lines) Initial(string) ([]byte, error) {
	x.begun = true
	return x.say(x.command)
}

func (x *lines) Send(msg []byte) ([]byte, error) {
	text := base64.StdEncoding.EncodeToString(msg)
	if x.begun {
		return x.say(text)
	}
	x.begun = true
	if text == "" {
		text = "="
	}
	return x.say(x.command + " " + text)
}

func (x *lines) say(line string) ([]byte, error) {
	x.c.send("%s", line)
	answer := x.c.line()
	if challenge, ok := strings.CutPrefix(answer, "+ "); ok {
		return base64.StdEncoding.DecodeString(challenge)
	}
	x.verdict = answer
	return nil, sasl.ErrVerdict
}

// clientCertificate is for a person, with the authority that has signed it.
func clientCertificate(t testing.TB, name string) (cert, key, ca string, pair *tls.Certificate) {
	t.Helper()
	cert, key, ca = dovecot.Certificate(t, name)
	loaded, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, ca, &loaded
}
