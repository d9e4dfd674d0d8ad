// Package limit decides whether there is room: for one more connection, of a network
// and in all, and for one more session of an account. Read limit.go for sessions,
// then place.go for connections, and crowd.go for who makes room when there is none.
package limit

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
)

// ErrTooMany says that a limit is reached.
var ErrTooMany = errors.New("too many")

// Bounds are how much may be open at once. 0 means no limit. An address stands for
// its whole network: see Networks.
type Bounds struct {
	Connections            int // of clients, logged in or not
	Logins                 int // connections that have not logged in yet
	LoginsPerAddress       int // … of one address
	LoginsPerMinute        int // connections of one address in a minute that do not log in
	SessionsPerUser        int
	SessionsPerUserAddress int
	SessionsPerAddress     int
	Networks               Networks
}

// Limits counts what is open. The zero value has no bounds.
type Limits struct {
	mu       sync.Mutex
	bounds   Bounds
	places   int // connections, logged in or not yet
	leaving  int // … of which so many have been asked to make room
	sessions int
	seed     maphash.Seed     // of the keys
	count    map[uint64]int32 // of sessions, by the keys of a Seat
	crowds   crowds
	rates    rates
}

// New returns Limits with nothing counted.
func New(b Bounds) *Limits { return &Limits{bounds: b} }

// Set changes the bounds. What is open stays.
func (l *Limits) Set(b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = b
}

// Conversations is how many connections there are that have not logged in.
func (l *Limits) Conversations() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places
}

// Network is that of an address. Exempt ones have no limits of their own.
func (l *Limits) Network(addr netip.Addr) (network netip.Prefix, exempt bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bounds.Networks.of(addr)
}

// Session counts a session until its Seat is released. Accounts that differ in
// case only share their limits: most backends do not tell them apart.
func (l *Limits) Session(user string, addr netip.Addr) (Seat, error) {
	return l.seat(user, addr, true)
}

// Adopt counts a session that was let in already, whatever the bounds say.
func (l *Limits) Adopt(user string, addr netip.Addr) Seat {
	s, _ := l.seat(user, addr, false)
	return s
}

// A Seat is what a session takes until it is given back. It belongs to one who has it:
// of two copies only one is released. The zero Seat is none.
//
// A session is counted under keys that are hashes: names would be ten times as long, and
// nobody outside knows the seed by which two could be made to meet.
type Seat struct {
	limits        *Limits
	user, network uint64
}

// keys are under what a session is counted: its user, its user from its network, and its
// network.
func (s Seat) keys() [3]uint64 { return [3]uint64{s.user, s.user ^ s.network, s.network} }

// limitError is an ErrTooMany that says of what.
type limitError struct{ what string }

func (e limitError) Error() string { return "too many " + e.what }
func (e limitError) Unwrap() error { return ErrTooMany }

// seat counts a session under all its keys or under none.
func (l *Limits) seat(user string, addr netip.Addr, bounded bool) (Seat, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		l.count, l.seed = map[uint64]int32{}, maphash.MakeSeed()
	}
	network, exempt := l.bounds.Networks.of(addr)
	s := Seat{l, maphash.String(l.seed, strings.ToLower(user)), maphash.Comparable(l.seed, network.Addr())}
	if bounded {
		if err := l.full(s, exempt); err != nil {
			return Seat{}, err
		}
	}
	for _, k := range s.keys() {
		l.count[k]++
	}
	l.sessions++
	return s, nil
}

// full tells of what there are too many already; exempt is the network.
func (l *Limits) full(s Seat, exempt bool) error {
	b, of := l.bounds, s.keys()
	for _, c := range []struct {
		key    uint64
		most   int
		exempt bool
		what   string
	}{
		{of[0], b.SessionsPerUser, false, "sessions of this user"},
		{of[1], b.SessionsPerUserAddress, exempt, "sessions of this user from this address"},
		{of[2], b.SessionsPerAddress, exempt, "sessions from this address"},
	} {
		if c.most > 0 && !c.exempt && int(l.count[c.key]) >= c.most {
			return limitError{c.what}
		}
	}
	return nil
}

// Release gives the seat back, once.
func (s *Seat) Release() {
	l := s.limits
	if l == nil {
		return
	}
	s.limits = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions--
	for _, k := range s.keys() {
		if l.count[k]--; l.count[k] <= 0 {
			delete(l.count, k)
		}
	}
}
