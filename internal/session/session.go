// Package session knows who is logged in on this node, and by which connection to
// which server.
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

// A Session is one login that is being relayed, or is on its way in. It is not
// changed once others may see it.
type Session struct {
	ID       ID
	Account  string
	Protocol string
	Remote   netip.AddrPort // of the client
	Target   string         // "east/192.0.2.7:143"
	TLS      string         // of the client's connection: "TLSv1.3", or "no"
	Since    time.Time      // when its server was reached
	Until    time.Time      `json:",omitzero"` // when it must end, as what proved the client does not hold for longer; zero: it need not
	Front    *Front         `json:",omitzero"` // that the client came by; nil: none
	Near     netip.AddrPort `json:",omitzero"` // of the connection to the server: our end
	Far      netip.AddrPort `json:",omitzero"` // and the server's

	next *Session // in the Registry: with an end of the same port
}

// A Front is a proxy or load balancer between the client and us.
type Front struct {
	Addr netip.AddrPort
	Node string `json:",omitempty"` // its name, if it is a node of the pool
	Ext  string // what it calls the session; "": it has not said
}

// String names the front end.
func (f Front) String() string {
	if f.Node != "" {
		return f.Node
	}
	return f.Addr.String()
}

// A Registry holds the sessions of this node. The zero value is empty.
type Registry struct {
	mu       sync.Mutex
	sessions map[ID]*Session
	coming   map[ID]*Session     // logins on their way
	byPort   map[uint16]*Session // all of them by their own end, in chains
}

// Expect enters a login that is on its way in: its server may ask who that is. It
// takes the place of an earlier one, at another server.
func (r *Registry) Expect(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.coming == nil {
		r.coming = map[ID]*Session{}
	}
	r.unlink(r.coming[s.ID])
	r.coming[s.ID] = s
	r.link(s)
}

// Add enters a session. It is on its way no more.
func (r *Registry) Add(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[ID]*Session{}
	}
	r.unlink(r.coming[s.ID])
	delete(r.coming, s.ID)
	r.sessions[s.ID] = s
	r.link(s)
}

// Remove takes out a session, or a login on its way in.
func (r *Registry) Remove(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unlink(r.sessions[id])
	r.unlink(r.coming[id])
	delete(r.sessions, id)
	delete(r.coming, id)
}

// Behind returns who stands behind connections from an end of ours: one to each of
// several servers, perhaps.
func (r *Registry) Behind(near netip.AddrPort) (list []*Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := r.byPort[near.Port()]; s != nil; s = s.next {
		if s.Near == near {
			list = append(list, s)
		}
	}
	return list
}

// link puts a session into the chain of its port. With a map of all there would be
// another hundred bytes for each; this has no more entries than there are ports.
func (r *Registry) link(s *Session) {
	if !s.Near.IsValid() {
		return
	}
	if r.byPort == nil {
		r.byPort = map[uint16]*Session{}
	}
	s.next = r.byPort[s.Near.Port()]
	r.byPort[s.Near.Port()] = s
}

func (r *Registry) unlink(s *Session) {
	if s == nil || !s.Near.IsValid() {
		return
	}
	port := s.Near.Port()
	if r.byPort[port] == s {
		r.byPort[port] = s.next
		if s.next == nil {
			delete(r.byPort, port)
		}
		return
	}
	for p := r.byPort[port]; p != nil; p = p.next {
		if p.next == s {
			p.next = s.next
		}
	}
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
