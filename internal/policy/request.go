package policy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	atOnce      = 100      // requests under way: as Dovecot has it
	mostHeaders = 16 << 10 // bytes
	idleTime    = 10 * time.Second
)

func transport(set Settings) *http.Transport {
	t := &http.Transport{ // without Proxy: what is asked goes where the URL says
		DialContext:            (&net.Dialer{Timeout: set.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: set.CA},
		TLSHandshakeTimeout:    set.Timeout,
		DisableCompression:     true, // a small answer cannot become a large one
		MaxConnsPerHost:        atOnce,
		MaxIdleConnsPerHost:    atOnce,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: mostHeaders,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// A deaf service is one with which there is no talking at all, so that it may be left
// alone. One that answers oddly may have trouble with this login only.
type deaf struct{ error }

func (d deaf) Unwrap() error { return d.error }

// ask asks a question, unless the service is left alone, and has its answer read.
func (s *Service) ask(ctx context.Context, command string, question any, read func(*http.Response) error) error {
	if !s.circuit.closed(time.Now()) {
		return errLeftAlone
	}
	bounded, cancel := context.WithTimeout(ctx, s.set.Timeout)
	defer cancel()
	err := s.post(bounded, command, question, read)
	switch {
	case ctx.Err() != nil: // says nothing about the service
	case isDeaf(err):
		s.circuit.fault(time.Now())
	default:
		s.circuit.answered()
	}
	return err
}

func isDeaf(err error) bool {
	_, ok := errors.AsType[deaf](err)
	return ok
}

func (s *Service) post(ctx context.Context, command string, question any, read func(*http.Response) error) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, withCommand(s.set.URL, command), bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, values := range s.set.Header {
		req.Header[name] = values
	}
	req.Header["Idempotency-Key"] = nil // is not sent; but if the service has closed the connection meanwhile, another one is taken
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "usher")
	res, err := s.transport.RoundTrip(req) // no redirections, no cookies
	if err != nil {
		return deaf{late(ctx, err)}
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("it answers with HTTP status %d; look at its own log", res.StatusCode)
	}
	err = read(res)
	if ctx.Err() != nil {
		return deaf{late(ctx, err)}
	}
	return err
}

// late is the error of a request, which is clearer if the time is over.
func late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("no answer in time; it is too slow, or frozen")
	}
	return plain{err}
}

// A plain error is one of net/http, in which everything may stand that a peer has sent.
type plain struct{ error }

func (p plain) Unwrap() error { return p.error }

func (p plain) Error() string {
	return fmt.Sprintf("%.300s", strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, p.error.Error()))
}

// withCommand is where a command is sent: command=allow is the last of the query.
func withCommand(u *url.URL, command string) string {
	to := *u
	to.RawQuery = strings.TrimPrefix(strings.TrimSuffix(u.RawQuery, "&")+"&command="+command, "&")
	return to.String()
}

// place is where a service is, for the log: a query may hold a secret.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// ParseURL reads where a service is.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read as a URL") // err may show a password
	case u.User != nil:
		return nil, errors.New("a name and a password in it are not sent")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Fragment != "":
		return nil, fmt.Errorf("%.80q is not like http://127.0.0.1:8084/", text)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// Clear tells whether what goes there can be read on its way.
func Clear(u *url.URL) bool {
	addr, _ := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && u.Hostname() != "localhost" && !addr.IsLoopback()
}

// ParseHeader reads "Name: value". Without a name it is X-API-Key: so Dovecot has it.
func ParseHeader(line string) (http.Header, error) {
	if line == "" {
		return nil, nil
	}
	name, value, named := strings.Cut(line, ":")
	if !named {
		name, value = "X-API-Key", line
	}
	name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
	switch {
	case !isToken(name):
		return nil, errors.New("what stands before the colon is no name of a header")
	case strings.ContainsFunc(value, unicode.IsControl):
		return nil, errors.New("there are control characters in the value")
	}
	return http.Header{name: {value}}, nil
}

// isToken: RFC 9110 §5.6.2.
func isToken(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && strings.Trim(strings.ToLower(s), letters+"0123456789!#$%&'*+-.^_`|~") == ""
}
