package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A service is whom we are to a server when we search.
type service struct {
	external     bool // who the socket or the certificate says
	dn, password string

	mu      sync.Mutex
	refused error     // why the last bind was refused, …
	until   time.Time // … and for how long that stands
}

func (w *service) String() string {
	switch {
	case w.external:
		return "SASL EXTERNAL"
	case w.dn != "":
		return fmt.Sprintf("%q", w.dn)
	}
	return "nobody (anonymous)"
}

// refusedFor is for how long a bind that was refused is not tried again: a directory may
// lock an account that is tried too often, and its server is probed each second.
const refusedFor = 30 * time.Second

// bind tells the server who we are, on a new connection.
func (w *service) bind(ctx context.Context, c *conn) error {
	if err := w.lately(); err != nil {
		return err
	}
	err := c.do(ctx, smallAnswer, w.request)
	if err == nil {
		return nil
	}
	text := fmt.Errorf("bind as %s: %s", w, explain(err)) // not a result any more: it is nobody's login that is refused
	if code, _ := result(err); code == ldap.LDAPResultInvalidCredentials {
		w.mu.Lock()
		w.refused, w.until = text, time.Now().Add(refusedFor)
		w.mu.Unlock()
	}
	return text
}

// lately is why a bind was refused not long ago.
func (w *service) lately() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.until) {
		return w.refused
	}
	return nil
}

func (w *service) request(c *ldap.Conn) error {
	switch {
	case w.external:
		return c.ExternalBind()
	case w.dn != "":
		return c.Bind(w.dn, w.password)
	}
	return nil // a new connection is anonymous: RFC 4513 §4
}

// connect opens a connection that is nobody's yet.
func (s *server) connect(ctx context.Context) (*conn, error) {
	network := "tcp"
	if s.at.scheme == "ldapi" {
		network = "unix"
	}
	raw, err := new(net.Dialer).DialContext(ctx, network, s.at.addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	secured, err := s.secure(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return newConn(raw, secured), nil
}

// connectService opens a connection to search on.
func (s *server) connectService(ctx context.Context) (*conn, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.service.bind(ctx, c); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// secure begins TLS, if that is wanted. Nothing else is said before.
func (s *server) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if !s.encrypted() {
		return raw, nil
	}
	if s.at.scheme == "ldap" {
		if err := startTLS(raw); err != nil {
			return nil, fmt.Errorf("StartTLS: %s", explain(err))
		}
	}
	config := s.tls.Clone()
	config.ServerName = s.at.host // it is verified: RFC 4513 §3.1.3
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %.200q%s", err.Error(), remedyTLS(err))
	}
	return secured, nil
}

// startTLS asks for TLS: RFC 4511 §4.14. go-ldap would do so too, but without a context,
// and its error forgets what is wrong with a certificate. The answer is read byte by
// byte, so that nothing that came in clear can be taken for something that TLS brought.
func startTLS(raw net.Conn) error {
	m := ber.NewSequence("LDAPMessage")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "messageID"))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "ExtendedRequest")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", "StartTLS"))
	m.AppendChild(op)
	if _, err := raw.Write(m.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(io.LimitReader(raw, 4<<10))
	if err != nil {
		return err
	}
	return ldap.GetLDAPError(answer)
}

// remedyTLS says what to do about a certificate.
func remedyTLS(err error) string {
	var record tls.RecordHeaderError
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	switch {
	case errors.As(err, &record):
		return ": it does not speak TLS there: use ldap://, with starttls = true if it can"
	case errors.As(err, &name):
		return ": write into url a name that its certificate has"
	case errors.As(err, &issuer):
		return ": name the file with the certificate of its CA in ca"
	}
	return ""
}

// tlsConfig reads the files.
func (s *settings) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: there is no certificate (PEM) in %q", s.CA)
		}
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
