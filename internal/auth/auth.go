// Package auth decides whether a client is who it says: which names there can
// be, whose password it is, and how many costly checks run at once.
package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"usher/internal/account"
	"usher/internal/sasl"
)

// maxName is how long a name may be, in bytes: longer than RFC 5321 §4.5.3.1
// lets an address be.
const maxName = 512

// maxPassword is how long a password may be, in bytes: as long as a literal.
const maxPassword = 4 << 10

// Auth asks a Directory and checks passwords. It is safe for concurrent use.
type Auth struct {
	directory account.Directory
	slots     chan struct{}                  // one for each hash check that may run now
	decoy     atomic.Pointer[account.Hashed] // what unknown names are checked against
}

// New returns an Auth over a directory. decoy is a hash, of no known password,
// for the time until the first account has been seen. So many checks run at once
// as there are processors: each takes one for itself.
func New(d account.Directory, decoy string, processors int) *Auth {
	a := &Auth{directory: d, slots: make(chan struct{}, processors)}
	a.decoy.Store(&account.Hashed{Hash: decoy})
	return a
}

// Verifier answers for one client. domain is added to names without one; q is
// what is known of the client besides its name.
func (a *Auth) Verifier(q account.Query, domain string) sasl.Verifier {
	return verifier{a, q, domain}
}

type verifier struct {
	auth   *Auth
	query  account.Query
	domain string
}

// A nameError is an error about a client that has said its name.
type nameError struct {
	name string
	error
}

func (e nameError) Unwrap() error { return e.error }

// Login is the name, for the log.
func (e nameError) Login() string { return e.name[:min(len(e.name), maxName)] }

// Password implements sasl.Verifier.
func (v verifier) Password(ctx context.Context, authz, authn, password string) (sasl.Identity, error) {
	name := v.canonical(authn)
	id, err := v.verify(ctx, name, password)
	if err == nil && authz != "" && v.canonical(authz) != name {
		err = fmt.Errorf("%w: may not act for %.80q", account.ErrRefused, authz)
	}
	if err != nil {
		return sasl.Identity{}, nameError{name, err}
	}
	return id, nil
}

func (v verifier) canonical(name string) string {
	if v.domain != "" && name != "" && !strings.Contains(name, "@") {
		return name + "@" + v.domain
	}
	return name
}

func (v verifier) verify(ctx context.Context, name, password string) (sasl.Identity, error) {
	if !possible(name, maxName) || !possible(password, maxPassword) {
		return sasl.Identity{}, v.auth.pretend(ctx, password, account.ErrRefused)
	}
	v.query.Name = name
	acct, err := v.auth.directory.Lookup(ctx, v.query)
	if errors.Is(err, account.ErrUnknown) {
		return sasl.Identity{}, v.auth.pretend(ctx, password, err)
	}
	if err != nil {
		return sasl.Identity{}, err
	}
	id := sasl.Identity{Account: acct, Password: password}
	if acct.Proof == nil {
		return id, nil // the backend will tell
	}
	id.Proven = true
	return id, v.auth.check(ctx, acct.Proof, password)
}

// possible tells whether a name or password can be anybody's. None is empty, and
// none holds bytes that would break a line towards a backend.
func possible(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n\x00")
}

// check asks a proof. Hashes are made to be slow: no more run at once than there
// are processors, and the others wait.
func (a *Auth) check(ctx context.Context, p account.Proof, password string) error {
	h, isHash := p.(account.Hashed)
	if !isHash {
		return p.Check(ctx, password)
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for a password check: %w", ctx.Err())
	}
	defer func() { <-a.slots }()
	if *a.decoy.Load() != h {
		a.decoy.Store(&h)
	}
	return h.Check(ctx, password)
}

// pretend takes the time that a check takes, for names that nobody has.
func (a *Auth) pretend(ctx context.Context, password string, err error) error {
	if len(password) <= maxPassword {
		_ = a.check(ctx, *a.decoy.Load(), password)
	}
	return err
}
