package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"usher/internal/account"
	"usher/internal/password"
	"usher/internal/sasl"
)

// SCRAM implements sasl.Verifier. Nobody learns from what he is told whether there is
// such an account: unknown names, and accounts that have no keys, have a salt too, which
// stays the same.
func (v verifier) SCRAM(ctx context.Context, hash, authz, authn string) (sasl.Prover, error) {
	v, authn = v.acting(authz, authn)
	p := &prover{verifier: v, hash: hash, authz: authz, began: time.Now()}
	p.name, p.err = v.name(authn)
	if p.err == nil {
		p.query.Name = p.name
		p.account, p.err = v.directory.Lookup(ctx, p.query)
	}
	if p.err != nil && !errors.Is(p.err, account.ErrUnknown) && !errors.Is(p.err, account.ErrRefused) {
		return nil, nameError{p.name, nil, p.err}
	}
	p.choose()
	var err error
	if p.keys, err = p.keysOf(ctx, p.account); err != nil {
		return nil, nameError{p.name, p.account, err}
	}
	return p, nil
}

// A prover decides about one client.
type prover struct {
	verifier
	hash       string
	authz      string
	name       string
	began      time.Time
	account    *account.Account // nil: unknown
	err        error            // why it will be refused whatever it proves
	salt       []byte
	iterations int
	keys       []key
}

// A key is of one of the account's passwords.
type key struct {
	password.SCRAM
	clear string // "": not known
}

// Salt implements sasl.Prover.
func (p *prover) Salt() ([]byte, int) { return p.salt, p.iterations }

// choose takes salt and iterations of the keys that are stored, or makes them up.
func (p *prover) choose() {
	for _, stored := range p.stored(p.account) {
		if keys, ok := password.StoredSCRAM(stored, p.hash); ok {
			p.salt, p.iterations = keys.Salt, keys.Iterations
			p.auth.shapes.learn(shape{len(keys.Salt), keys.Iterations})
			return
		}
	}
	s := p.auth.shapes.of(func(s shape) []byte { return p.auth.secret("shape", p.hash, p.name, s.String()) })
	p.iterations = s.iterations
	for len(p.salt) < s.salt {
		p.salt = append(p.salt, p.auth.secret("salt", p.hash, p.name, string(p.salt))...)
	}
	p.salt = p.salt[:s.salt]
}

func (p *prover) stored(acct *account.Account) []string {
	if acct == nil {
		return nil
	}
	return acct.Stored(p.query.Protocol)
}

// keysOf are the keys of an account that the client can prove with the salt that it is
// told. Those of a clear password are made now, which is slow; it takes as long if there
// is none.
func (p *prover) keysOf(ctx context.Context, acct *account.Account) (keys []key, err error) {
	free, err := p.auth.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	made := false
	for _, stored := range p.stored(acct) {
		if clear, ok := password.Clear(stored); ok {
			k, err := password.NewSCRAM(p.hash, clear, p.salt, p.iterations)
			if err != nil {
				return nil, err
			}
			keys, made = append(keys, key{k, clear}), true
		} else if k, ok := password.StoredSCRAM(stored, p.hash); ok && bytes.Equal(k.Salt, p.salt) && k.Iterations == p.iterations {
			keys = append(keys, key{k, ""})
		}
	}
	if !made {
		_, err = password.NewSCRAM(p.hash, "nobody's", p.salt, p.iterations)
	}
	return keys, err
}

// Prove implements sasl.Prover.
func (p *prover) Prove(ctx context.Context, messages string, proof []byte) (sasl.Identity, []byte, error) {
	id, own, err := p.check(ctx, messages, proof)
	if id, err = p.verdict(ctx, p.name, p.authz, id, err); err != nil {
		return id, nil, err
	}
	return id, own, nil
}

// check holds the proof against the keys; if the account was remembered, then also
// against those that the source says now, as far as they are of the same salt.
func (p *prover) check(ctx context.Context, messages string, proof []byte) (sasl.Identity, []byte, error) {
	if p.err != nil {
		return sasl.Identity{}, nil, p.err
	}
	acct := p.account
	clear, own, ok := proven(p.keys, messages, proof)
	if !ok && remembered(acct, p.began) {
		p.query.Fresh = true
		fresh, err := p.directory.Lookup(ctx, p.query)
		if err != nil {
			return sasl.Identity{}, nil, err
		}
		keys, err := p.keysOf(ctx, fresh)
		if err != nil {
			return sasl.Identity{}, nil, err
		}
		acct = fresh
		clear, own, ok = proven(keys, messages, proof)
	}
	id := sasl.Identity{Account: acct, Password: clear, Proven: ok}
	if !ok {
		return id, nil, account.ErrRefused
	}
	keep(acct, clear)
	return p.again(id), own, nil
}

// proven tells whether a client has proven that it knows the password of some key.
func proven(keys []key, messages string, proof []byte) (clear string, own []byte, ok bool) {
	for _, k := range keys {
		if sign, fits := k.Verify(messages, proof); fits && (!ok || clear == "") {
			clear, own, ok = k.clear, sign, true
		}
	}
	return clear, own, ok
}

// secret is a text that only we can compute.
func (a *Auth) secret(of ...string) []byte {
	h := hmac.New(sha256.New, a.Salt)
	for _, text := range of {
		_, _ = fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return h.Sum(nil)
}

// A shape is what a stranger sees of keys: how long the salt is, and how often the
// password is hashed.
type shape struct{ salt, iterations int }

func (s shape) String() string { return fmt.Sprint(s.salt, s.iterations) }

// shapes are those that stored keys have. What is made up must look like them.
type shapes struct {
	mu   sync.Mutex
	seen []shape
}

// Only so many shapes are told apart, and none that would cost much or is good for
// nothing.
const (
	mostShapes      = 8
	leastIterations = 4096 // RFC 7677 §4
	mostIterations  = 100_000
)

var usual = shape{16, password.SCRAMIterations}

func (s *shapes) learn(one shape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < mostShapes && one.iterations >= leastIterations && one.iterations <= mostIterations && !slices.Contains(s.seen, one) {
		s.seen = append(s.seen, one)
	}
}

// of chooses one for a name: that with the highest draw, so that a name keeps its shape
// when another one is learnt, unless that is just the one for it.
func (s *shapes) of(draw func(shape) []byte) shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return usual
	}
	return slices.MaxFunc(s.seen, func(a, b shape) int { return bytes.Compare(draw(a), draw(b)) })
}
