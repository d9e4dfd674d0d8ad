// Package limit decides whether there is room: for one more connection from an
// address, and for one more session of an account.
package limit

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
)

// ErrTooMany says that a limit is reached.
var ErrTooMany = errors.New("too many")

// Bounds are how much may be open at once. 0 means no limit.
type Bounds struct {
	Connections            int // of clients, logged in or not
	LoginsPerAddress       int // connections that have not logged in yet
	SessionsPerUser        int
	SessionsPerUserAddress int
}

// Limits counts what is open. The zero value has no bounds.
type Limits struct {
	mu     sync.Mutex
	bounds Bounds
	count  map[key]int
}

// New returns Limits with nothing counted.
func New(b Bounds) *Limits { return &Limits{bounds: b} }

// Set changes the bounds. What is open stays.
func (l *Limits) Set(b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = b
}

// Connect counts a connection until release is called. One whose client is not
// known yet, only the front end, has no address: it counts only among all.
func (l *Limits) Connect(addr netip.Addr) (release func(), err error) {
	return l.take(&place{limits: l, addr: network(addr)}, true)
}

// Conversations is how many connections there are that have not logged in.
func (l *Limits) Conversations() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[key{of: waiting}]
}

// Session counts a session until release is called. Accounts that differ in
// case only share their limits: most backends do not tell them apart.
func (l *Limits) Session(user string, addr netip.Addr) (release func(), err error) {
	return l.take(&place{limits: l, user: strings.ToLower(user), addr: network(addr)}, true)
}

// Adopt counts a session that was let in already, whatever the bounds say.
func (l *Limits) Adopt(user string, addr netip.Addr) (release func()) {
	release, _ = l.take(&place{limits: l, user: strings.ToLower(user), addr: network(addr)}, false)
	return release
}

// network is what counts as one address: for IPv6 the /64 that one site has.
func network(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// key is under what is counted.
type key struct {
	of   group
	user string
	addr netip.Addr
}

type group byte

const (
	all     group = iota // connections
	waiting              // connections before login, in all or by address
	fronts               // of those, the ones without an address
	inside               // sessions, by user, or by user and address
)

// limitError is an ErrTooMany that says of what.
type limitError struct{ what string }

func (e limitError) Error() string { return "too many " + e.what }
func (e limitError) Unwrap() error { return ErrTooMany }

// A place is what a connection or a session takes until it is given back. There
// is one for each session, so that it holds no more than it must.
type place struct {
	limits *Limits
	user   string // "": has not logged in
	addr   netip.Addr
	given  bool // back; under the lock of limits
}

// claim is one more under a key.
type claim struct {
	key  key
	most int // 0: no bound
	what string
}

// claims are what the place counts as.
func (p *place) claims(b Bounds) [3]claim {
	if p.user == "" && !p.addr.IsValid() {
		return [3]claim{
			{key{of: all}, b.Connections, "connections in all"},
			{key{of: waiting}, 0, ""},
			{key{of: fronts}, 0, ""},
		}
	}
	if p.user == "" {
		return [3]claim{
			{key{of: all}, b.Connections, "connections in all"},
			{key{of: waiting}, 0, ""},
			{key{of: waiting, addr: p.addr}, b.LoginsPerAddress, "connections from this address before login"},
		}
	}
	return [3]claim{
		{key{of: all}, 0, ""}, // its connection had a place already
		{key{of: inside, user: p.user}, b.SessionsPerUser, "sessions of this user"},
		{key{of: inside, user: p.user, addr: p.addr}, b.SessionsPerUserAddress, "sessions of this user from this address"},
	}
}

// take counts all claims of a place or none.
func (l *Limits) take(p *place, bounded bool) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	claims := p.claims(l.bounds)
	for _, c := range claims {
		if bounded && c.most > 0 && l.count[c.key] >= c.most {
			return nil, limitError{c.what}
		}
	}
	if l.count == nil {
		l.count = map[key]int{}
	}
	for _, c := range claims {
		l.count[c.key]++
	}
	return p.give, nil
}

// give gives the place back, once.
func (p *place) give() {
	l := p.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.given {
		return
	}
	p.given = true
	for _, c := range p.claims(Bounds{}) {
		if l.count[c.key]--; l.count[c.key] <= 0 {
			delete(l.count, c.key)
		}
	}
}
