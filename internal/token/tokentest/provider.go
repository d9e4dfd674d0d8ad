// Package tokentest is an OpenID provider for tests: discovery, keys that change, and
// introspection, under TLS. Only tests import it.
package tokentest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Provider issues tokens, and says what they are worth.
type Provider struct {
	URL        string // the issuer
	Introspect string // RFC 7662
	CA         string // a PEM file that verifies its certificate
	ID, Secret string // that it demands of those who ask about tokens

	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	keys    []jose.JSONWebKey // private, the newest last
	opaque  map[string]map[string]any
	asked   map[string]int
	instead http.HandlerFunc
}

// New starts a provider that lives as long as the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t, ID: "usher", Secret: "the provider's secret", opaque: map[string]map[string]any{}, asked: map[string]int{}}
	p.server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(p.server.Close)
	p.URL, p.Introspect = p.server.URL, p.server.URL+"/introspect"
	p.CA = filepath.Join(t.TempDir(), "provider.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	if err := os.WriteFile(p.CA, text, 0o644); err != nil {
		t.Fatal(err)
	}
	p.Rotate()
	return p
}

// Rotate replaces the key, at once.
func (p *Provider) Rotate() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []jose.JSONWebKey{{Key: private, KeyID: rand.Text(), Algorithm: "ES256", Use: "sig"}}
}

// Key is the newest private key.
func (p *Provider) Key() jose.JSONWebKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1]
}

// PublicKey is the public half of the newest.
func (p *Provider) PublicKey() crypto.PublicKey {
	key := p.Key()
	return key.Public().Key
}

// Instead answers all questions from now on; nil: the provider itself does. What it does
// not answer with anything is no answer.
func (p *Provider) Instead(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead = h
}

// Stop ends the provider.
func (p *Provider) Stop() { p.server.Close() }

// Asked is how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Claims are what a good token says, with changes; nil takes one away.
func (p *Provider) Claims(name string, changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": p.URL, "sub": "1234", "aud": "mail", "scope": "openid imap", "email": name,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	for claim, v := range changes {
		if v == nil {
			delete(c, claim)
		}
	}
	return c
}

// Token is a good JWT, with changes.
func (p *Provider) Token(name string, changes map[string]any) string {
	p.t.Helper()
	return Sign(p.t, p.Key(), p.Claims(name, changes))
}

// Opaque is a token that only introspection tells something of.
func (p *Provider) Opaque(claims map[string]any) string {
	token := "opaque-secret-" + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opaque[token] = claims
	return token
}

// Revoke makes an opaque token bad.
func (p *Provider) Revoke(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.opaque, token)
}

// Sign makes a JWT of whatever is given.
func Sign(t testing.TB, key jose.JSONWebKey, claims any) string {
	t.Helper()
	return SignAs(t, key, "JWT", claims)
}

// SignAs makes a JWT of another type.
func SignAs(t testing.TB, key jose.JSONWebKey, typ string, claims any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	instead := p.instead
	p.mu.Unlock()
	if instead != nil {
		_ = r.ParseForm() // only then it is seen that a client has gone
		instead(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/keys")
	case "/keys":
		_ = json.NewEncoder(w).Encode(p.Public())
	case "/introspect":
		p.introspect(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Public are the keys as everybody may have them, with some that nobody here knows.
func (p *Provider) Public() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []any{map[string]string{"kty": "future", "kid": "x"}, map[string]string{"kty": "oct", "k": "c2VjcmV0", "kid": "y"}}
	for _, key := range p.keys {
		all = append(all, key.Public())
	}
	return map[string]any{"keys": all}
}

func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	if id, secret, _ := r.BasicAuth(); r.Method != http.MethodPost || id != p.ID || secret != "the+provider%27s+secret" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	claims, ok := p.opaque[r.PostFormValue("token")]
	p.mu.Unlock()
	answer := map[string]any{"active": ok}
	maps.Copy(answer, claims)
	_ = json.NewEncoder(w).Encode(answer)
}

// PEM is the public half of a key.
func PEM(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
