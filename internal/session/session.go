// Package session knows who is logged in on this node.
package session

import (
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// An ID names a session in logs, from the connection to its end.
type ID uint64

// NewID returns an ID that no other session is likely to have. It is no secret.
func NewID() ID { return ID(rand.Uint64()) }

// String returns the ID as it stands in logs: 13 letters and digits.
func (id ID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// A Session is one login that is being relayed.
type Session struct {
	ID       ID
	Account  string
	Protocol string
	Remote   netip.AddrPort
	Target   string // "east/192.0.2.7:143"
	TLS      string // of the client's leg: "TLSv1.3", or "no"
	Since    time.Time
	Until    time.Time // when it must end, as what proved the client does not hold for longer; zero: it need not
}

// A Registry holds the sessions of this node. The zero value is empty.
type Registry struct {
	mu       sync.Mutex
	sessions map[ID]*Session
}

// Add enters a session.
func (r *Registry) Add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[ID]*Session{}
	}
	r.sessions[s.ID] = s
}

// Remove takes a session out.
func (r *Registry) Remove(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, id)
}

// Len returns how many sessions there are.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// List returns the sessions, oldest first.
func (r *Registry) List() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Session) int { return a.Since.Compare(b.Since) })
	return list
}
