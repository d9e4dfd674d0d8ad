package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// A Memory knows which password of an account was right last, without keeping it,
// so that the next login costs no slow hash and no question, and can be let in while
// its source is down. It is safe for concurrent use.
type Memory struct {
	secret *secret
	times  Times

	mu    sync.Mutex
	right digest // of the proof's identity and the password
	at    time.Time
}

// A secret is drawn anew in each process: what is kept is worth nothing elsewhere.
type secret [32]byte

type digest [sha256.Size]byte

func newSecret() *secret {
	var s secret
	_, _ = rand.Read(s[:]) // it never fails
	return &s
}

// digest tells texts apart; it cannot be turned back.
func (s *secret) digest(texts ...string) (d digest) {
	h := hmac.New(sha256.New, s[:])
	for _, t := range texts {
		_, _ = h.Write([]byte{byte(len(t) >> 24), byte(len(t) >> 16), byte(len(t) >> 8), byte(len(t))}) // no two lists look alike
		_, _ = h.Write([]byte(t))
	}
	h.Sum(d[:0])
	return d
}

// hashesHold is for how long a password that fitted a hash need not be checked
// against the same hash again.
const hashesHold = time.Hour

// Knows tells whether the password was found right by the same proof lately: so
// lately that the source need not be asked, or, if it is down, that nobody will.
func (m *Memory) Knows(p Proof, password string, down bool) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	right, age := m.right, time.Since(m.at)
	m.mu.Unlock()
	if age > m.holds(p, down) {
		return false
	}
	return hmac.Equal(right[:], m.of(p, password))
}

// holds is for how long a right password stays known.
func (m *Memory) holds(p Proof, down bool) time.Duration {
	_, isHash := p.(Hashed)
	switch {
	case down:
		return m.times.Stale
	case isHash:
		return hashesHold
	}
	return m.times.Good
}

// Keep notes that the proof has found the password right.
func (m *Memory) Keep(p Proof, password string) {
	if m == nil {
		return
	}
	d := m.secret.digest(p.Identity(), password)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.right, m.at = d, time.Now()
}

func (m *Memory) of(p Proof, password string) []byte {
	d := m.secret.digest(p.Identity(), password)
	return d[:]
}

// Times say how long a source's answers are remembered; 0: not at all.
type Times struct {
	Good    time.Duration // before it is asked again about an account
	Unknown time.Duration // before it is asked again about a name that it did not know
	Stale   time.Duration // while it is down
}
