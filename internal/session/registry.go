package session

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"usher/internal/slab"
)

// A Registry holds the sessions of this node, as records: see there. It gives and takes
// copies. The zero value is empty.
type Registry struct {
	mu      sync.Mutex
	records slab.Slab[record]
	byID    map[ID]int32
	byPort  map[uint16]int32 // of the first of those with this port at our end, in chains
	coming  int              // of records: logins on their way
	began   time.Time
}

// Expect enters a login that is on its way in: its server may ask who that is. It
// takes the place of an earlier one, at another server.
func (r *Registry) Expect(s *Session) { r.enter(s, true) }

// Add enters a session. One that was expected is on its way no more.
func (r *Registry) Add(s *Session) {
	if !r.arrived(s) {
		r.enter(s, false)
	}
}

// arrived notes that a login that was expected is in, and has got its seat.
func (r *Registry) arrived(s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	number, ok := r.byID[s.ID]
	if !ok {
		return false
	}
	rec := r.records.At(number)
	if !rec.coming {
		return false
	}
	rec.coming, rec.seat = false, s.Seat
	r.coming--
	return true
}

func (r *Registry) enter(s *Session, coming bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID, r.byPort, r.began = map[ID]int32{}, map[uint16]int32{}, time.Now()
	}
	r.remove(s.ID)
	number, rec := r.records.Add()
	*rec = newRecord(s, r.began)
	r.byID[s.ID] = number
	r.link(number, rec)
	if rec.coming = coming; coming {
		r.coming++
	}
}

// Remove takes out a session, or a login on its way in.
func (r *Registry) Remove(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(id)
}

func (r *Registry) remove(id ID) {
	number, ok := r.byID[id]
	if !ok {
		return
	}
	rec := r.records.At(number)
	if rec.coming {
		r.coming--
	}
	r.unlink(number, rec)
	delete(r.byID, id)
	r.records.Remove(number)
}

// Get returns a session, or a login on its way in; nil if there is none.
func (r *Registry) Get(id ID) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number, ok := r.byID[id]; ok {
		return r.records.At(number).session(r.began)
	}
	return nil
}

// Behind returns who stands behind connections from an end of ours: one to each of
// several servers, perhaps.
func (r *Registry) Behind(near netip.AddrPort) (list []*Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, more := r.byPort[near.Port()]; more; {
		rec := r.records.At(number)
		if s := rec.session(r.began); s.Near == near {
			list = append(list, s)
		}
		number, more = rec.next, rec.follows
	}
	return list
}

// link puts a record into the chain of its port.
func (r *Registry) link(number int32, rec *record) {
	if rec.port == 0 {
		return
	}
	rec.next, rec.follows = r.byPort[rec.port]
	r.byPort[rec.port] = number
}

func (r *Registry) unlink(number int32, rec *record) {
	if rec.port == 0 {
		return
	}
	first := r.byPort[rec.port]
	switch {
	case first != number:
		before := r.records.At(first)
		for before.next != number {
			before = r.records.At(before.next)
		}
		before.next, before.follows = rec.next, rec.follows
	case rec.follows:
		r.byPort[rec.port] = rec.next
	default:
		delete(r.byPort, rec.port)
	}
}

// Len returns how many sessions there are.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records.Len() - r.coming
}

// List returns the sessions, oldest first.
func (r *Registry) List() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Session, 0, r.records.Len())
	for _, rec := range r.records.All() {
		if !rec.coming {
			list = append(list, rec.session(r.began))
		}
	}
	slices.SortFunc(list, func(a, b *Session) int { return a.Since.Compare(b.Since) })
	return list
}
