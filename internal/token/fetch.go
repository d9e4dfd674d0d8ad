package token

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	maxDocument = 512 << 10 // bytes that a provider may say at a time
	maxHeaders  = 64 << 10
	connections = 32 // to the provider at a time
)

// web is the way to the provider. What it says is bounded, and where it sends us we do
// not go: it is asked with a secret.
type web struct {
	client  *http.Client
	timeout time.Duration

	life context.Context // of what goes on in the background
	end  context.CancelFunc
	wait sync.WaitGroup
}

func newWeb(roots *x509.CertPool, timeout time.Duration) *web {
	w := &web{timeout: timeout}
	w.life, w.end = context.WithCancel(context.Background())
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // providers are often outside
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		MaxConnsPerHost:        connections,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // a small answer shall not become a large one
		ForceAttemptHTTP2:      true,
	}
	w.client = &http.Client{
		Transport:     bounded{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w
}

// background runs something that ends with us, or when its time is over.
func (w *web) background(do func(context.Context)) {
	w.wait.Go(func() {
		ctx, cancel := context.WithTimeout(w.life, w.timeout)
		defer cancel()
		do(ctx)
	})
}

func (w *web) close() {
	w.end()
	w.wait.Wait()
	w.client.CloseIdleConnections()
}

// bounded lets nobody say more than maxDocument.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &body{resp.Body, maxDocument}
	}
	return resp, err
}

var errTooLong = errors.New("its answer is too long")

type body struct {
	io.ReadCloser
	left int
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// get fetches one document.
func (w *web) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %.200q: HTTP status %d", url, resp.StatusCode)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %.200q: %w", url, err)
	}
	return text, nil
}

// wellKnown is where an issuer describes itself: OpenID Connect Discovery §4.
func wellKnown(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// discover fetches an issuer's keys from where it says that they are.
func (w *web) discover(issuer string) func(context.Context) ([]jose.JSONWebKey, error) {
	return func(ctx context.Context) ([]jose.JSONWebKey, error) {
		keys, err := w.jwks(ctx, issuer)
		if err != nil {
			return nil, fmt.Errorf("keys of the issuer %s: %.300s", issuer, oneLine(err))
		}
		return keys, nil
	}
}

func (w *web) jwks(ctx context.Context, issuer string) ([]jose.JSONWebKey, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, w.client), issuer)
	if err != nil {
		return nil, err
	}
	var said struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&said); err != nil {
		return nil, err
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(said.Keys, "https:") {
		return nil, fmt.Errorf("its jwks_uri %.200q is not under TLS", said.Keys)
	}
	text, err := w.get(ctx, said.Keys)
	if err != nil {
		return nil, err
	}
	return ParseKeys(text)
}

// oneLine keeps what a provider says from looking like more than it is.
func oneLine(err error) string {
	return strings.Join(strings.Fields(fmt.Sprintf("%q", err.Error())), " ")
}
