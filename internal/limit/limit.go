// Package limit decides whether there is room: for one more connection, of a network
// and in all, and for one more session of an account. Read limit.go for sessions,
// then place.go for connections, and crowd.go for who makes room when there is none.
package limit

import (
	"errors"
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
	count    map[key]int
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

// Session counts a session until release is called. Accounts that differ in
// case only share their limits: most backends do not tell them apart.
func (l *Limits) Session(user string, addr netip.Addr) (release func(), err error) {
	return l.seat(user, addr, true)
}

// Adopt counts a session that was let in already, whatever the bounds say.
func (l *Limits) Adopt(user string, addr netip.Addr) (release func()) {
	release, _ = l.seat(user, addr, false)
	return release
}

// key is under what sessions are counted: a user, a network, or both.
type key struct {
	user    string
	network netip.Addr
}

// limitError is an ErrTooMany that says of what.
type limitError struct{ what string }

func (e limitError) Error() string { return "too many " + e.what }
func (e limitError) Unwrap() error { return ErrTooMany }

// A seat is what a session takes until it is given back. There is one for each
// session, so that it holds no more than it must.
type seat struct {
	limits *Limits
	key    key
	given  bool // back; under the lock of limits
}

// keys are under what a session is counted.
func (k key) keys() [3]key { return [3]key{{user: k.user}, k, {network: k.network}} }

// seat counts a session under all its keys or under none.
func (l *Limits) seat(user string, addr netip.Addr, bounded bool) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	network, exempt := l.bounds.Networks.of(addr)
	s := &seat{limits: l, key: key{strings.ToLower(user), network.Addr()}}
	if bounded {
		if err := l.full(s.key, exempt); err != nil {
			return nil, err
		}
	}
	if l.count == nil {
		l.count = map[key]int{}
	}
	for _, k := range s.key.keys() {
		l.count[k]++
	}
	l.sessions++
	return s.release, nil
}

// full tells of what there are too many already; exempt is the network.
func (l *Limits) full(k key, exempt bool) error {
	b, of := l.bounds, k.keys()
	for _, c := range []struct {
		key    key
		most   int
		exempt bool
		what   string
	}{
		{of[0], b.SessionsPerUser, false, "sessions of this user"},
		{of[1], b.SessionsPerUserAddress, exempt, "sessions of this user from this address"},
		{of[2], b.SessionsPerAddress, exempt, "sessions from this address"},
	} {
		if c.most > 0 && !c.exempt && l.count[c.key] >= c.most {
			return limitError{c.what}
		}
	}
	return nil
}

// release gives the seat back, once.
func (s *seat) release() {
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.given {
		return
	}
	s.given = true
	l.sessions--
	for _, k := range s.key.keys() {
		if l.count[k]--; l.count[k] <= 0 {
			delete(l.count, k)
		}
	}
}
