package authhttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"usher/internal/account"
)

// A service is one URL with its connections.
type service struct {
	place      place
	headers    http.Header // of the configuration
	showReason bool
	transport  *http.Transport // not a Client: no redirections, no cookies
}

const (
	mostHeaders = 64 << 10               // bytes
	mostBody    = 64 << 10               // bytes; nobody reads them
	bodyTime    = 100 * time.Millisecond // for a body; one that comes later costs its connection
	dialTime    = 10 * time.Second
	idleTime    = time.Minute // after which a connection is given up
)

func (s settings) transport(p place, security *tls.Config) *http.Transport {
	d := net.Dialer{Timeout: dialTime}
	t := &http.Transport{ // without Proxy: passwords go where the URL says
		DialContext:            d.DialContext,
		TLSClientConfig:        security,
		TLSHandshakeTimeout:    dialTime,
		DisableCompression:     true,
		MaxConnsPerHost:        s.Pool,
		MaxIdleConnsPerHost:    s.Pool,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: mostHeaders,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if p.unix != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", p.unix) }
	}
	return t
}

// security says how services are verified, and what they see of us. The certificate is
// read at each handshake, so that a renewed one is used.
func (s settings) security() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: there is no certificate in %q", s.CA)
		}
	}
	if s.Cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
			return &cert, err
		}
		if _, err := c.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
	}
	return c, nil
}

// clear tells whether what is sent can be read on its way.
func (p place) clear() bool {
	host := p.url.Hostname()
	addr, _ := netip.ParseAddr(host)
	return p.url.Scheme == "http" && p.unix == "" && host != "localhost" && !addr.IsLoopback()
}

// get asks once.
func (one *service) get(ctx context.Context, q account.Query) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := one.transport.RoundTrip(one.request(q).WithContext(ctx))
	switch {
	case err != nil && ctx.Err() != nil:
		return answer{}, fmt.Errorf("HTTP request: %w", ctx.Err())
	case err != nil:
		return answer{}, fmt.Errorf("%w%s", fault{err}, advice(err))
	}
	defer res.Body.Close()
	discard(res.Body, cancel)
	return read(res.StatusCode, res.Header)
}

// discard reads a body, so that the connection can be used again; but not for long.
func discard(body io.Reader, cancel func()) {
	late := time.AfterFunc(bodyTime, cancel)
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, mostBody)
}

// A fault is an error of net/http, in which everything may stand that a peer has sent.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

func (f fault) Error() string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, f.error.Error())
	return fmt.Sprintf("%.300s", s)
}

// advice is what to do about a service that cannot be reached.
func advice(err error) string {
	_, badName := errors.AsType[x509.HostnameError](err)
	_, badAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case badName:
		return "; use the name in its certificate in the URL"
	case badAuthority:
		return "; name its authority with the key ca"
	case noTLS:
		return "; it does not speak TLS there: use another port, or http"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return "; start the service, or correct the URL"
	case errors.Is(err, io.EOF):
		return "; it closes the connection without an answer: look at its own log"
	case errors.Is(err, os.ErrPermission):
		return "; let usher's user write to the socket"
	}
	return ""
}
