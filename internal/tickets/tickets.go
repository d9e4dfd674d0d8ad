// Package tickets decides with which keys TLS session tickets are sealed, and
// keeps the keys over restarts: a client that comes back to a new process needs
// no full handshake.
//
// Who has a key can read the sessions whose tickets it sealed, unless TLS 1.3
// has made them safe, so that keys are few days old and never printed. All that
// can be lost with them is resumption: whatever is wrong with the file, there are
// keys, if need be in memory only.
package tickets

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	fresh = 24 * time.Hour     // how long a key seals new tickets
	spent = 7 * 24 * time.Hour // how long it opens old ones: RFC 8446 §4.6.1 lets no ticket live longer
	skew  = time.Minute        // how far ahead of the clock a birth may be
)

// A key seals tickets from its birth on.
type key struct {
	Born   time.Time `json:"born"`
	Secret []byte    `json:"secret"` // 32 bytes
}

// secretSize is what tls.Config.SetSessionTicketKeys takes.
const secretSize = 32

// Keys are the keys of all processes that use the same file. They are safe for
// concurrent use.
type Keys struct {
	file string
	now  func() time.Time

	mu      sync.Mutex
	known   []key  // newest first
	unsaved bool   // the file may lack some of them
	told    string // what was wrong when Current was last asked
}

// Open reads the keys in a file, or begins it. The error says what is wrong with
// the file and is a warning: the Keys are good in any case.
func Open(file string, now func() time.Time) (*Keys, error) {
	k := &Keys{file: file, now: now}
	_, err := k.Current()
	return k, err
}

// Format keeps the keys out of logs, with any verb.
func (*Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(session ticket keys)")) }

// Current returns the keys for tls.Config.SetSessionTicketKeys, newest first: as
// they are in the file, with a new one if the newest is a day old. The keys are
// good also if the error is not nil; the same trouble is told once.
func (k *Keys) Current() ([][secretSize]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.refresh()
	secrets := make([][secretSize]byte, len(k.known))
	for i, one := range k.known {
		copy(secrets[i][:], one.Secret)
	}
	if err == nil {
		k.told = ""
	} else if err.Error() == k.told {
		return secrets, nil
	} else {
		k.told = err.Error()
	}
	return secrets, err
}

// refresh makes what is known agree with the file, under the lock that all
// processes share, so that two never make a key each.
func (k *Keys) refresh() error {
	unlock, failed := lock(filepath.Dir(k.file))
	if failed == nil {
		defer unlock()
	}
	stored, doubt := read(k.file) // whole also without the lock
	if errors.Is(doubt, errExposed) {
		k.known = nil // they may be the same
	}
	if doubt != nil || k.unsaved {
		stored = join(stored, k.known)
	}
	var made bool
	k.known, made = rotate(stored, k.now())
	k.unsaved = k.unsaved || made || doubt != nil
	if !k.unsaved {
		return nil
	}
	if failed == nil {
		failed = write(k.file, k.known)
	}
	if failed != nil {
		return errors.Join(doubt, k.memoryOnly(failed))
	}
	k.unsaved = false
	return doubt
}

func (k *Keys) memoryOnly(err error) error {
	return fmt.Errorf("session ticket keys cannot be kept in %s, after a restart clients make full handshakes: %w", k.file, err)
}

// rotate drops what is too old, or born in a future that the clock has been
// turned back from, and adds a key if there is none to seal with.
func rotate(keys []key, now time.Time) (all []key, made bool) {
	all = slices.DeleteFunc(slices.Clone(keys), func(k key) bool {
		age := now.Sub(k.Born)
		return age >= spent || age < -skew
	})
	if len(all) > 0 && now.Sub(all[0].Born) < fresh {
		return all, false
	}
	born := key{Born: now.UTC(), Secret: make([]byte, secretSize)}
	_, _ = rand.Read(born.Secret) // never fails
	return slices.Insert(all, 0, born), true
}

// join gives each key of both once, newest first.
func join(a, b []key) []key {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b key) int { return b.Born.Compare(a.Born) })
	return slices.CompactFunc(all, func(a, b key) bool { return slices.Equal(a.Secret, b.Secret) })
}
