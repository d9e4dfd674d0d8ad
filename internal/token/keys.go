package token

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// askAgain is how much time lies at least between two questions for keys: strangers
	// may send tokens of keys that nobody has.
	askAgain = 5 * time.Second
	// renewAfter is when keys are asked for again even though they do: one may have been
	// withdrawn.
	renewAfter = 15 * time.Minute
)

// A keySet holds the provider's public keys. They are fetched when the first token
// comes, when one comes that none of them has signed, and from time to time. While they
// cannot be fetched, those that are there stay.
type keySet struct {
	fetch func(context.Context) ([]jose.JSONWebKey, error)
	web   *web // bounds the time of fetch, and its life
	now   func() time.Time

	mu     sync.Mutex
	keys   []jose.JSONWebKey
	err    error         // of the last fetch
	asked  time.Time     // when it began
	asking chan struct{} // closed when the fetch is over; nil: there is none
}

func newKeySet(fetch func(context.Context) ([]jose.JSONWebKey, error), w *web, now func() time.Time) *keySet {
	return &keySet{fetch: fetch, web: w, now: now}
}

// verify returns what was signed.
func (k *keySet) verify(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	id := jws.Signatures[0].Header.KeyID
	keys := k.current()
	if text, ok := try(keys, jws); ok {
		return text, nil
	}
	if id != "" && slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool { return key.KeyID == id }) {
		return nil, refusal("its signature is wrong")
	}
	keys, err := k.renewed(ctx)
	if text, ok := try(keys, jws); ok {
		return text, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, refusal("none of the issuer's keys has signed it; its key is called %.80q", id)
}

// try looks for a key that has signed.
func try(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) (text []byte, ok bool) {
	by := jws.Signatures[0].Header
	for _, key := range keys {
		if by.KeyID != "" && key.KeyID != "" && key.KeyID != by.KeyID || key.Algorithm != "" && key.Algorithm != by.Algorithm {
			continue // RFC 7517 §4.4, §4.5
		}
		if text, err := jws.Verify(key); err == nil {
			return text, true
		}
	}
	return nil, false
}

// current are the keys that are there. If they are old, they are asked for again, but
// nobody waits for it.
func (k *keySet) current() []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) > 0 && k.now().Sub(k.asked) >= renewAfter {
		k.ask()
	}
	return k.keys
}

// renewed are the keys as they are now, or were a moment ago. With an error, they are the
// last that were to be had.
func (k *keySet) renewed(ctx context.Context) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	if k.asked.IsZero() || k.now().Sub(k.asked) >= askAgain {
		k.ask()
	}
	over := k.asking
	k.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.err
}

// ask begins a fetch unless there is one. It is called with mu held.
func (k *keySet) ask() {
	if k.asking != nil {
		return
	}
	over := make(chan struct{})
	k.asking, k.asked = over, k.now()
	k.web.background(func(ctx context.Context) {
		keys, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.err = err; err == nil {
			k.keys = keys
		}
		k.asking = nil
		close(over)
	})
}

// inherit takes another set's keys, until it has some of its own.
func (k *keySet) inherit(from *keySet) {
	from.mu.Lock()
	keys, asked := from.keys, from.asked
	from.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(keys) > 0 && k.asked.IsZero() { // without any we ask ourselves: why there were none was not our question
		k.keys, k.asked = keys, asked
	}
}

// errNoKeys says that a provider has no keys that can be used.
var errNoKeys = errors.New("there is no key that can sign tokens: RSA with 2048 bits or more, ECDSA or Ed25519")
