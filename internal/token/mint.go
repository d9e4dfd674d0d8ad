package token

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// lives is how long a token of our own is good: for the one login that it is made for.
	lives = time.Minute
	// early is how far the server's clock may be behind ours. Dovecot takes no token that
	// begins later than now.
	early = time.Minute
)

// A Mint makes tokens for one server.
type Mint struct {
	Key      *Key
	Issuer   string
	Audience string // the server, so that it cannot use them elsewhere
	Claim    string // what holds the name, beside sub
	Scope    string
}

// Token returns a token that says that its bearer is this user.
func (m *Mint) Token(user string) (string, error) {
	now := time.Now()
	c := claims{
		"iss": m.Issuer, "sub": user, "aud": m.Audience, m.Claim: user, "jti": rand.Text(),
		"iat": now.Add(-early).Unix(), "nbf": now.Add(-early).Unix(), "exp": now.Add(lives).Unix(),
	}
	if m.Scope != "" {
		c["scope"] = m.Scope
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return m.Key.sign(text)
}

// A Key signs tokens.
type Key struct {
	ID        string // RFC 7638's thumbprint: the same for the same key, and fit for a file's name
	Algorithm string // "ES256"

	public crypto.PublicKey
	signer jose.Signer
}

// sign makes a JWT: RFC 7519 §7.1.
func (k *Key) sign(text []byte) (string, error) {
	jws, err := k.signer.Sign(text)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return jws.CompactSerialize()
}
