// Package token decides whose an OAuth 2 token is, and signs tokens of usher's own
// towards servers.
//
// Read Checker.Whose first, then judge.go. What a token says is read from itself, if it
// is a JWT (jwt.go, keys.go), or asked of the provider (introspect.go); fetch.go bounds
// what a provider may say. mint.go is the other half: tokens that usher signs.
package token

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"time"

	"usher/internal/account"
	"usher/internal/recent"
	"usher/internal/sasl"
)

// Settings say which tokens are good. There is an Issuer or an Introspect, at least.
type Settings struct {
	Issuer   string        // who must have signed them: RFC 9068 §2.2; "": the provider decides
	Keys     string        // file of the issuer's keys; "": by discovery from Issuer
	Audience []string      // they are for one of these; none: for whomever
	Scope    []string      // they allow all of these
	Claim    string        // what in them is the name
	Skew     time.Duration // how much clocks may differ

	Introspect   string // URL of RFC 7662; "": a token is a JWT, and says all itself
	ClientID     string // we are this to the provider; "": it does not ask
	ClientSecret string
	Cache        time.Duration // how long what the provider says is believed, at most

	Roots   *x509.CertPool // who may sign the provider's certificate; nil: as the system says
	Timeout time.Duration  // of one question to the provider
	Now     func() time.Time
}

const (
	maxToken   = 16 << 10         // bytes; a line of a client holds less
	remembered = 20_000           // tokens of which is known what the provider said
	refusedFor = 10 * time.Second // how long a refusal of the provider is believed
)

// A Checker tells whose tokens are. It is safe for concurrent use.
type Checker struct {
	s    Settings
	read reader
	web  *web

	mu    sync.Mutex
	known recent.Table[[sha256.Size]byte, verdict] // by hashes: no token shall lie about in memory
}

// A reader reads what a token says, once it is sure that the provider says so. The
// error is a refusal if it is no token of this provider; any other means that we
// cannot tell.
type reader interface {
	claims(ctx context.Context, token string) (claims, error)
}

// A verdict is what became of a token.
type verdict struct {
	names   []string
	expires time.Time // zero: it does not say
	err     error
	good    time.Time // until when the verdict is believed
}

// New returns a Checker. It asks nobody yet. Close it.
func New(s Settings) *Checker {
	if s.Now == nil {
		s.Now = time.Now
	}
	c := &Checker{s: s, web: newWeb(s.Roots, s.Timeout), known: recent.Table[[sha256.Size]byte, verdict]{Most: remembered}}
	switch {
	case s.Introspect != "":
		c.read = &introspection{url: s.Introspect, id: s.ClientID, secret: s.ClientSecret, web: c.web}
	case s.Keys != "":
		c.read = &signed{newKeySet(fileKeys(s.Keys), c.web, s.Now)}
	default:
		c.read = &signed{newKeySet(c.web.discover(s.Issuer), c.web, s.Now)}
	}
	return c
}

// Whose tells by which names the owner of a token may be known, and until when it is
// good; zero: it does not say. The error is a *sasl.TokenRefusal if it is not; any other
// means that we cannot tell.
func (c *Checker) Whose(ctx context.Context, token string) (names []string, until time.Time, err error) {
	v := c.verdict(ctx, token)
	if v.err == nil && !v.expires.IsZero() {
		until = v.expires.Add(c.s.Skew) // for as long as another login with it is let in
	}
	return v.names, until, c.told(v.err)
}

// verdict asks the provider, unless it has told already.
func (c *Checker) verdict(ctx context.Context, token string) verdict {
	if len(token) > maxToken {
		return verdict{err: refusal("it has %d bytes, which is too long", len(token))}
	}
	if c.s.Introspect == "" { // to check a signature is sooner done than remembered, and keys are withdrawn
		return c.look(ctx, token)
	}
	key := sha256.Sum256([]byte(token))
	c.mu.Lock()
	v, ok := c.known.Get(key)
	c.mu.Unlock()
	if now := c.s.Now(); ok && now.Before(v.good) {
		return v
	}
	v = c.look(ctx, token)
	if v.good.IsZero() {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Put(key, v)
	return v
}

// look reads a token and judges it.
func (c *Checker) look(ctx context.Context, token string) verdict {
	said, err := c.read.claims(ctx, token)
	now := c.s.Now()
	v := verdict{err: err}
	if err == nil {
		v.names, v.expires, v.err = c.s.judge(said, now)
	}
	switch {
	case v.err == nil:
		v.good = now.Add(c.s.Cache)
		if end := v.expires.Add(c.s.Skew); !v.expires.IsZero() && end.Before(v.good) {
			v.good = end
		}
	case errors.Is(v.err, account.ErrRefused):
		v.good = now.Add(min(refusedFor, c.s.Cache))
	}
	return v
}

// told adds to a refusal what a client may know of it: RFC 7628 §3.2.2.
func (c *Checker) told(err error) error {
	var r *sasl.TokenRefusal
	if !errors.As(err, &r) {
		return err
	}
	told := *r
	told.Scope = strings.Join(c.s.Scope, " ")
	if c.s.Issuer != "" && c.s.Keys == "" {
		told.Configuration = wellKnown(c.s.Issuer)
	}
	return &told
}

// Inherit takes what another one knows of the same provider. It is in use already, or
// will be soon.
func (c *Checker) Inherit(from *Checker) {
	mine, ok := c.read.(*signed)
	theirs, same := from.read.(*signed)
	if ok && same && c.s.Issuer == from.s.Issuer && c.s.Keys == from.s.Keys {
		mine.keys.inherit(theirs.keys)
	}
}

// Close ends what is asked of the provider.
func (c *Checker) Close() { c.web.close() }

// Examine asks the provider whether it is there. It returns what was looked at.
func (c *Checker) Examine(ctx context.Context) (what string, err error) {
	switch r := c.read.(type) {
	case *introspection:
		_, err = r.claims(ctx, "usher-check-no-token")
		if errors.Is(err, account.ErrRefused) {
			err = nil
		}
		return "ask " + c.s.Introspect + " about a token", err
	case *signed:
		_, err = r.keys.renewed(ctx)
	}
	if c.s.Keys != "" {
		return "read the keys in " + c.s.Keys, err
	}
	return "fetch the keys of " + c.s.Issuer, err
}
