// Package auth decides whether a client is who it says: which names there can
// be, whose password it is, and how many costly checks run at once.
//
// Read Password first; answer.go and scram.go are the same for clients that do not show
// their password, proven.go for those of whom a certificate or a token tells. names.go
// says whom a client means by a name.
package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"usher/internal/account"
	"usher/internal/sasl"
)

// maxPassword is how long a password may be, in bytes: as long as a literal.
const maxPassword = 4 << 10

// Auth asks a Directory and checks passwords. It is safe for concurrent use; its fields
// are not changed once it is in use.
type Auth struct {
	// Names are how names are read.
	Names Names
	// Salt is a secret from which salts of SCRAM are made, for accounts that have none,
	// and for names that nobody has. While it stays the same, so do they.
	Salt []byte
	// Masters are those who may log in as others; nil: nobody may. Where one says so by
	// its name, Separator stands between whom it acts for and its own; "": not by names.
	Masters   account.Directory
	Separator string
	// Tokens tells whose an OAuth 2 token is, by all names that he has, one at least, and
	// when a session must end that began with it; zero: it need not. It returns a
	// sasl.TokenRefusal if it is nobody's; nil: there is nobody to ask.
	Tokens func(ctx context.Context, token string) (names []string, until time.Time, err error)

	directory account.Directory
	slots     chan struct{}                  // one for each hash check that may run now
	waiting   atomic.Int64                   // checks that run or wait
	decoy     atomic.Pointer[account.Hashed] // what unknown names are checked against
	shapes    shapes                         // that keys of SCRAM have here
}

// New returns an Auth over a directory. decoy is a hash, of no known password,
// for the time until the first account has been seen. So many checks run at once
// as there are processors: each takes one for itself.
func New(d account.Directory, decoy string, processors int) *Auth {
	a := &Auth{directory: d, slots: make(chan struct{}, processors), Salt: []byte(rand.Text())}
	a.decoy.Store(&account.Hashed{Hashes: []string{decoy}})
	return a
}

// Verifier answers for one client. domain is added to names without one; q is
// what is known of the client besides its name.
func (a *Auth) Verifier(q account.Query, domain string) sasl.Verifier {
	return verifier{auth: a, query: q, domain: domain, directory: a.directory}
}

type verifier struct {
	auth      *Auth
	query     account.Query
	domain    string
	directory account.Directory // of those who prove themselves
	owner     *owner            // for whom they act; nil: for themselves
}

// A nameError is an error about a client that has said its name.
type nameError struct {
	name string
	acct *account.Account // nil: nobody's
	error
}

func (e nameError) Unwrap() error { return e.error }

// Login is the name, for the log.
func (e nameError) Login() string { return e.name[:min(len(e.name), account.MaxName)] }

// NoDelay is what the account says of the delay of refusals, if there is one.
func (e nameError) NoDelay() (nodelay, known bool) {
	return e.acct != nil && e.acct.Access.NoDelay, e.acct != nil
}

// Password implements sasl.Verifier.
func (v verifier) Password(ctx context.Context, authz, authn, password string) (sasl.Identity, error) {
	v, authn = v.acting(authz, authn)
	name, err := v.name(authn)
	if err == nil && !possible(password, maxPassword) {
		err = account.ErrRefused
	}
	var id sasl.Identity
	if err == nil {
		id, err = v.verify(ctx, name, password)
	} else {
		err = v.auth.pretend(ctx, password, err)
	}
	return v.verdict(ctx, name, authz, id, err)
}

// verdict is the answer about a client with a name, that wants to act for authz, or for
// itself.
func (v verifier) verdict(ctx context.Context, name, authz string, id sasl.Identity, err error) (sasl.Identity, error) {
	switch {
	case v.owner != nil:
		id, err = v.act(ctx, name, id, err)
	case err == nil && authz != "" && !v.means(authz, name):
		err = fmt.Errorf("%w: may not act for %.80q", account.ErrRefused, authz)
	}
	if err != nil {
		return sasl.Identity{}, nameError{name, id.Account, err}
	}
	return id, nil
}

// again lets the source be asked once more whether the account of a client that has
// proven itself still is what was remembered. What it was proven by must be the same.
func (v verifier) again(id sasl.Identity) sasl.Identity {
	was := id.Account
	if was == nil || was.Asked.IsZero() || v.query.Fresh {
		return id
	}
	id.Again = func(ctx context.Context) (sasl.Identity, error) {
		v.query.Fresh = true
		now, err := v.directory.Lookup(ctx, v.query)
		if err != nil {
			return sasl.Identity{}, err
		}
		next := id
		next.Account, next.Again = now, nil
		next.Proven = slices.Equal(now.Stored(v.query.Protocol), was.Stored(v.query.Protocol))
		return next, nil
	}
	return id
}

// name is whom the client means by what it has written. An error comes with what that
// is, for the log.
func (v verifier) name(written string) (string, error) {
	name, err := v.auth.Names.Canonical(written, v.domain)
	if err == nil && !possible(name, account.MaxName) {
		err = account.ErrRefused
	}
	return name, err
}

// means tells whether by what is written somebody with this name is meant.
func (v verifier) means(written, name string) bool {
	other, err := v.name(written)
	return err == nil && other == name
}

func (v verifier) verify(ctx context.Context, name, password string) (sasl.Identity, error) {
	v.query.Name, v.query.Password = name, password
	acct, err := v.prove(ctx, func(acct *account.Account) error { return v.auth.check(ctx, acct, password) })
	if errors.Is(err, account.ErrUnknown) {
		return sasl.Identity{}, v.auth.pretend(ctx, password, err)
	}
	if acct == nil {
		return sasl.Identity{}, err
	}
	id := sasl.Identity{Account: acct, Password: password, Proven: acct.Proof != nil}
	if !acct.Asked.IsZero() && !v.query.Fresh {
		id.Again = func(ctx context.Context) (sasl.Identity, error) {
			v.query.Fresh = true
			return v.verify(ctx, name, password)
		}
	}
	return id, err
}

// prove looks a name up and has somebody check what the client shows. What is
// remembered may be out of date: before a client is refused by it, the source is asked
// again.
func (v verifier) prove(ctx context.Context, check func(*account.Account) error) (*account.Account, error) {
	began := time.Now()
	acct, err := v.directory.Lookup(ctx, v.query)
	if err != nil {
		return nil, err
	}
	err = check(acct)
	if !errors.Is(err, account.ErrRefused) || !remembered(acct, began) {
		return acct, err
	}
	v.query.Fresh = true
	fresh, err := v.directory.Lookup(ctx, v.query)
	if err != nil {
		return nil, err
	}
	if same(fresh.Proof, acct.Proof) && maps.Equal(fresh.States, acct.States) {
		return fresh, account.ErrRefused // to ask it twice could count twice where logins are counted
	}
	return fresh, check(fresh)
}

// remembered tells whether a source has said this of an account before now.
func remembered(acct *account.Account, now time.Time) bool {
	return !acct.Asked.IsZero() && !acct.Asked.After(now)
}

// possible tells whether a name or password can be anybody's. None is empty, and
// none holds bytes that would break a line towards a backend.
func possible(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n\x00")
}

// check asks the proof of an account, unless it has found this password right
// already; nil if only the backend can tell.
func (a *Auth) check(ctx context.Context, acct *account.Account, password string) error {
	p := acct.Proof
	h, isHash := p.(account.Hashed)
	fast := isHash && !h.Slow() // sooner done than remembered
	if p == nil || !fast && acct.Memory.Knows(p, password, false) {
		return nil
	}
	err := a.ask(ctx, p, password)
	switch {
	case err == nil:
		acct.Memory.Keep(p, password) // also of a fast hash: on the disk only a slow one may stand
	case errors.Is(err, account.ErrRefused):
		acct.Memory.Refuse(p, password)
	case acct.Memory.Knows(p, password, true):
		return nil // it cannot be asked now, but was asked before
	}
	return err
}

// ask asks a proof.
func (a *Auth) ask(ctx context.Context, p account.Proof, password string) error {
	h, isHash := p.(account.Hashed)
	if _, locked := p.(account.Locked); locked {
		return a.pretend(ctx, password, p.Check(ctx, password)) // nor does it show that it is locked
	}
	if !isHash {
		return p.Check(ctx, password)
	}
	free, err := a.slot(ctx)
	if err != nil {
		return err
	}
	defer free()
	if a.decoy.Load().Identity() != h.Identity() {
		a.decoy.Store(&h)
	}
	return h.Check(ctx, password)
}

// slot waits for a processor. Hashes are made to be slow: no more run at once than there
// are processors, so many others wait, and for the rest there is no time.
func (a *Auth) slot(ctx context.Context) (free func(), err error) {
	if a.waiting.Add(1) > int64(cap(a.slots)*(1+queue)) {
		a.waiting.Add(-1)
		return nil, errBusy
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		a.waiting.Add(-1)
		return nil, fmt.Errorf("waiting for a password check: %w", ctx.Err())
	}
	return func() {
		<-a.slots
		a.waiting.Add(-1)
	}, nil
}

// queue is how many checks may wait for each processor: some seconds of work.
const queue = 100

var errBusy = errors.New("too many passwords are being checked; if this is no attack, use hashes that cost less, or more processors")

// same tells whether two proofs decide by the same. Those without an identity say
// only what a source has said of one password.
func same(a, b account.Proof) bool {
	return a != nil && b != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && a.Identity() != "" && a.Identity() == b.Identity()
}

// pretend takes the time that a check takes, for names that nobody has; and if there
// is no time for one, it says so, as for others.
func (a *Auth) pretend(ctx context.Context, password string, err error) error {
	if len(password) > maxPassword {
		return err
	}
	if none := a.ask(ctx, *a.decoy.Load(), password); errors.Is(none, errBusy) || ctx.Err() != nil {
		return none
	}
	return err
}
