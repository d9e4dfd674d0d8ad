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
	home *memories
	name string // the account's
	born int    // home.forgotten then

	mu    sync.Mutex
	right digest // of the proof's identity and the password
	at    time.Time
	slow  *slowHash // of the same password; nil: there is none yet
	then  func()    // to do when a password is right; nil: nothing
}

// A slowHash is an ARGON2ID hash of the password that a proof has found right.
type slowHash struct {
	proof digest // of its identity
	hash  string
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
	now := m.of(p, password)
	return hmac.Equal(right[:], now[:])
}

// holds is for how long a right password stays known.
func (m *Memory) holds(p Proof, down bool) time.Duration {
	_, isHash := p.(Hashed)
	switch {
	case down:
		return m.home.times.Stale
	case isHash:
		return hashesHold
	}
	return m.home.times.Good
}

// Keep notes that the proof has found the password right.
func (m *Memory) Keep(p Proof, password string) {
	if m == nil {
		return
	}
	right := m.of(p, password)
	m.mu.Lock()
	if m.right != right {
		m.slow = nil // of another password, that may be wrong by now
	}
	first, lasts, then := m.at.IsZero(), m.slow != nil, m.then
	m.right, m.at, m.then = right, time.Now(), nil
	m.mu.Unlock()
	if first {
		m.home.enter(m)
	}
	if then != nil {
		then()
	}
	if m.home.disk != nil && !lasts && !isSlow(p) {
		m.home.disk.learn(lesson{m, right, m.home.secret.digest(p.Identity()), password})
	}
}

// whenRight has something done once a password is right, instead of what was to be
// done before. It returns false, and does nothing, if one is known to be.
func (m *Memory) whenRight(do func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.at.IsZero() {
		return false
	}
	m.then = do
	return true
}

// Refuse notes that the proof has found the password wrong. If it was right before,
// it shall not let anybody in while the source is down.
func (m *Memory) Refuse(p Proof, password string) {
	if m == nil {
		return
	}
	wrong := m.of(p, password)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.right == wrong {
		m.clear()
	}
}

// Forget forgets the password.
func (m *Memory) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}

// clear is called with m.mu held.
func (m *Memory) clear() {
	m.right, m.at, m.slow = digest{}, time.Time{}, nil
	m.home.disk.touch()
}

// learned notes a hash, unless another password has been right meanwhile.
func (m *Memory) learned(l lesson, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.right == l.right {
		m.slow = &slowHash{l.proof, hash}
	}
}

// hash is the slow hash of the password that the proof has found right; "": none.
func (m *Memory) hash(p Proof) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slow == nil || m.slow.proof != m.home.secret.digest(p.Identity()) {
		return ""
	}
	return m.slow.hash
}

func (m *Memory) of(p Proof, password string) digest {
	return m.home.secret.digest(p.Identity(), password)
}

// Times say how long a source's answers are remembered; 0: not at all.
type Times struct {
	Good    time.Duration // before it is asked again about an account
	Unknown time.Duration // before it is asked again about a name that it did not know
	Stale   time.Duration // while it is down
}
