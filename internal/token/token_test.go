package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"usher/internal/account"
	"usher/internal/sasl"
	"usher/internal/token"
	"usher/internal/token/tokentest"
)

// settings are those of an administrator who trusts the provider.
func settings(t testing.TB, p *tokentest.Provider) token.Settings {
	t.Helper()
	return token.Settings{
		Issuer: p.URL, Audience: []string{"mail", "post"}, Scope: []string{"imap"}, Claim: "email", Skew: 30 * time.Second,
		Roots: roots(t, p.CA), Timeout: 5 * time.Second, Cache: time.Minute,
	}
}

func roots(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func open(t testing.TB, s token.Settings) *token.Checker {
	t.Helper()
	c := token.New(s)
	t.Cleanup(c.Close)
	return c
}

// is fails the test unless the token is ann's.
func isAnns(t *testing.T, c *token.Checker, text string) {
	t.Helper()
	if names, _, err := c.Whose(t.Context(), text); err != nil || !slices.Equal(names, []string{"ann@example.org"}) {
		t.Errorf("it is %q's, %v", names, err)
	}
}

// isRefused fails the test unless the token is refused for that reason.
func isRefused(t *testing.T, c *token.Checker, text, why string) {
	t.Helper()
	names, _, err := c.Whose(t.Context(), text)
	var r *sasl.TokenRefusal
	if !errors.As(err, &r) || !errors.Is(err, account.ErrRefused) || names != nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%q's, %v; want a refusal: %s", names, err, why)
	}
}

// isUnknown fails the test unless it is nobody's fault but the provider's.
func isUnknown(t *testing.T, c *token.Checker, text, why string) {
	t.Helper()
	names, _, err := c.Whose(t.Context(), text)
	if err == nil || errors.Is(err, account.ErrRefused) || names != nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
		t.Errorf("%q's, %v; want it to be unclear: %s", names, err, why)
	}
}

type changes = map[string]any

const ann = "ann@example.org"

func TestAGoodTokenIsItsOwners(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	for _, change := range []changes{
		nil,
		{"aud": []string{"elsewhere", "post"}},
		{"scope": nil, "scp": []string{"imap", "x"}},
		{"scope": nil, "scp": "x imap"},
		{"email_verified": true},
		{"email_verified": "true"},
		{"nbf": nil, "iat": nil},
		{"exp": 1e300},
		{"email": []string{ann}},
		{"exp": time.Now().Add(-10 * time.Second).Unix()},
		{"nbf": time.Now().Add(10 * time.Second).Unix()},
	} {
		isAnns(t, c, p.Token(ann, change))
	}
	isAnns(t, c, tokentest.SignAs(t, p.Key(), "at+jwt", p.Claims(ann, nil)))
	isAnns(t, c, tokentest.SignAs(t, p.Key(), "application/at+JWT", p.Claims(ann, nil)))
	if n := p.Asked("/keys"); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

func TestATokenSaysUntilWhen(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	end := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	if _, until, err := c.Whose(t.Context(), p.Token(ann, changes{"exp": end.Unix()})); err != nil || !until.Equal(end.Add(30*time.Second)) {
		t.Errorf("until %v, %v", until, err)
	}
}

func TestWhatIsNotForUsIsRefused(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	now := time.Now()
	for _, x := range []struct {
		change changes
		why    string
	}{
		{changes{"iss": "https://evil.example.org"}, "issuer"},
		{changes{"iss": nil}, "issuer"},
		{changes{"iss": []string{p.URL}}, "issuer"},
		{changes{"iss": p.URL + "/"}, "issuer"},
		{changes{"iss": nil, "ISS": p.URL}, "issuer"},
		{changes{"aud": "elsewhere"}, "audience"},
		{changes{"aud": nil}, "audience"},
		{changes{"aud": []any{"mail", 1}}, "audience"},
		{changes{"aud": map[string]string{"mail": "mail"}}, "audience"},
		{changes{"aud": "mail post"}, "audience"},
		{changes{"scope": "openid"}, "scope"},
		{changes{"scope": nil}, "scope"},
		{changes{"scope": "imaps"}, "scope"},
		{changes{"exp": now.Add(-time.Minute).Unix()}, "expired"},
		{changes{"exp": nil}, "(exp)"},
		{changes{"exp": "tomorrow"}, "(exp)"},
		{changes{"exp": -1}, "(exp)"},
		{changes{"exp": 0}, "expired"},
		{changes{"nbf": now.Add(time.Minute).Unix()}, "(nbf)"},
		{changes{"nbf": "now"}, "(nbf)"},
		{changes{"email": nil}, "no email"},
		{changes{"email": ""}, "no email"},
		{changes{"email": 7}, "no email"},
		{changes{"email": slices.Repeat([]string{"a"}, 17)}, "no email"},
		{changes{"email": strings.Repeat("a", 513)}, "no email"},
		{changes{"email_verified": false}, "not verified"},
		{changes{"email_verified": "false"}, "not verified"},
	} {
		isRefused(t, c, p.Token(ann, x.change), x.why)
	}
	isRefused(t, c, tokentest.SignAs(t, p.Key(), "logout+jwt", p.Claims(ann, nil)), "its type")
	isRefused(t, c, tokentest.Sign(t, p.Key(), []string{"ann"}), "JSON")
	isRefused(t, c, tokentest.Sign(t, p.Key(), nil), "JSON")
}

func TestAClientHearsWhatATokenNeeds(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	for scope, status := range map[string]string{"imap": "", "openid": "insufficient_scope"} {
		_, _, err := c.Whose(t.Context(), p.Token(ann, changes{"scope": scope, "aud": map[string]string{"imap": "x", "openid": "mail"}[scope]}))
		var r *sasl.TokenRefusal
		if !errors.As(err, &r) || r.Scope != "imap" || r.Configuration != p.URL+"/.well-known/openid-configuration" || r.Status != status {
			t.Errorf("%+v", r)
		}
	}
}

// unsigned is a JWT that is signed by nothing, or by what everybody knows.
func forged(header string, claims string, secret []byte) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(claims))
	if secret == nil {
		return text + "."
	}
	sum := hmac.New(sha256.New, secret)
	sum.Write([]byte(text))
	return text + "." + enc(sum.Sum(nil))
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	c := open(t, settings(t, p))
	good := p.Token(ann, nil)
	isAnns(t, c, good)
	head, rest, _ := strings.Cut(good, ".")
	body, sig, _ := strings.Cut(rest, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(body)
	public := tokentest.PEM(t, p.PublicKey())
	id := p.Key().KeyID
	for name, text := range map[string]string{
		"none":                      forged(`{"alg":"none"}`, string(claims), nil),
		"None":                      forged(`{"alg":"None","kid":"`+id+`"}`, string(claims), nil),
		"no alg":                    forged(`{"kid":"`+id+`"}`, string(claims), nil),
		"HS256 by the public key":   forged(`{"alg":"HS256","kid":"`+id+`"}`, string(claims), public),
		"HS256 by the symmetric":    forged(`{"alg":"HS256","kid":"y"}`, string(claims), []byte("secret")),
		"ES256 without a signature": head + "." + body + ".",
		"ES256 of zeros":            head + "." + body + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"another body":              head + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), "ann@", "bob@", 1))) + "." + sig,
		"crit":                      forged(`{"alg":"ES256","crit":["x"],"x":1,"kid":"`+id+`"}`, string(claims), []byte("x")),
		"its own key":               own(t, p, true),
		"its own key, as jwk":       own(t, p, false),
		"four parts":                good + ".x",
		"two parts":                 head + "." + body,
		"as JSON":                   `{"payload":"` + body + `","protected":"` + head + `","signature":"` + sig + `"}`,
		"five parts":                head + "." + body + ".." + sig + ".",
		"empty":                     "",
		"dots":                      "..",
		"binary":                    "\x00\xff.\x01.\x02",
		"opaque":                    "ya29.a0AfH6SMBx",
		"a megabyte":                strings.Repeat("A", 1<<20),
		"a deep header":             base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(`{"a":`, 2000))) + "." + body + "." + sig,
	} {
		if text == good {
			t.Fatal("not forged at all")
		}
		names, _, err := c.Whose(t.Context(), text)
		if !errors.Is(err, account.ErrRefused) || names != nil {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
	if n := p.Asked("/keys"); n > 2 {
		t.Errorf("forged tokens have had the keys fetched %d times", n)
	}
}

// own is a token that is signed by a key of the forger's, which calls itself as the
// provider's does, or is given in the token.
func own(t *testing.T, p *tokentest.Provider, sameID bool) string {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key := jose.JSONWebKey{Key: private, Algorithm: "ES256"}
	if sameID {
		key.KeyID = p.Key().KeyID
		return tokentest.Sign(t, key, p.Claims(ann, nil))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(`{"iss":"` + p.URL + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

func TestEveryKindOfKeyPairWillDo(t *testing.T) {
	t.Parallel()
	p := tokentest.New(t)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	s := settings(t, p)
	s.Keys = filepath.Join(t.TempDir(), "keys.pem")
	var all []byte
	for _, public := range []any{r.Public(), e384.Public(), ed.Public()} {
		all = append(all, tokentest.PEM(t, public)...)
	}
	if err := os.WriteFile(s.Keys, all, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, s)
	for alg, key := range map[string]any{"RS256": r, "RS512": r, "PS256": r, "ES384": e384, "EdDSA": ed} {
		isAnns(t, c, tokentest.Sign(t, jose.JSONWebKey{Key: key, Algorithm: alg}, p.Claims(ann, nil)))
		isAnns(t, c, tokentest.Sign(t, jose.JSONWebKey{Key: key, Algorithm: alg, KeyID: "whatever"}, p.Claims(ann, nil)))
	}
	isRefused(t, c, p.Token(ann, nil), "none of the issuer's keys")
	if p.Asked("/keys")+p.Asked("/.well-known/openid-configuration") > 0 {
		t.Error("with keys in a file the provider is asked")
	}
}
