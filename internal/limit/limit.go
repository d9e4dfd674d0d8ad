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

// Limits counts what is open. The numbers are not changed after the first use;
// 0 means no limit.
type Limits struct {
	LoginsPerAddress       int // connections that have not logged in yet
	SessionsPerUser        int
	SessionsPerUserAddress int

	mu    sync.Mutex
	count map[any]int
}

// The keys under which is counted.
type (
	fromAddress netip.Addr
	ofUser      string
	ofUserFrom  struct {
		user string
		addr netip.Addr
	}
)

// Connect counts a connection until release is called.
func (l *Limits) Connect(addr netip.Addr) (release func(), err error) {
	return l.take(claim{fromAddress(network(addr)), l.LoginsPerAddress, "connections from this address before login"})
}

// Session counts a session until release is called. Accounts that differ in
// case only share their limits: most backends do not tell them apart.
func (l *Limits) Session(user string, addr netip.Addr) (release func(), err error) {
	user = strings.ToLower(user)
	return l.take(
		claim{ofUser(user), l.SessionsPerUser, "sessions of this user"},
		claim{ofUserFrom{user, network(addr)}, l.SessionsPerUserAddress, "sessions of this user from this address"},
	)
}

// network is what counts as one address: for IPv6 the /64 that one site has.
func network(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// claim is one more under a key.
type claim struct {
	key  any
	most int
	what string
}

// limitError is an ErrTooMany that says of what.
type limitError struct{ what string }

func (e limitError) Error() string { return "too many " + e.what }
func (e limitError) Unwrap() error { return ErrTooMany }

// take counts all claims or none.
func (l *Limits) take(claims ...claim) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		if c.most > 0 && l.count[c.key] >= c.most {
			return nil, limitError{c.what}
		}
	}
	if l.count == nil {
		l.count = map[any]int{}
	}
	for _, c := range claims {
		l.count[c.key]++
	}
	return sync.OnceFunc(func() { l.give(claims) }), nil
}

func (l *Limits) give(claims []claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		if l.count[c.key]--; l.count[c.key] <= 0 {
			delete(l.count, c.key)
		}
	}
}
