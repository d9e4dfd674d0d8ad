package limit

import (
	"container/list"
	"net/netip"
	"time"
)

// A Place is what a connection takes from Connect until Release.
type Place struct {
	limits  *Limits
	leave   func()     // asks the client to make room
	network netip.Addr // under which it is counted
	since   time.Time
	state   state
	in      *list.Element // of the network's crowd; nil: in none
}

// A state is how a connection stands. All but a stranger's need not make room for
// others: it is somebody, goes already, or is of an exempt network.
type state byte

const (
	stranger state = iota
	exempted       // a stranger of an exempt network
	proven         // has shown who it is
	leaving        // was asked to make room
	gone
)

// Connect counts a connection until Release. If there is no room, somebody else may
// be asked to make some: leave is called, by another goroutine, when it is this one's
// turn. It must not wait. A client that is not known yet, but only its front end, has no
// address: it counts only among all.
func (l *Limits) Connect(addr netip.Addr, leave func()) (*Place, error) {
	p := &Place{limits: l, leave: leave, since: time.Now()}
	victim, err := l.connect(p, addr)
	if err != nil {
		return nil, err
	}
	if victim != nil {
		victim.leave()
	}
	return p, nil
}

func (l *Limits) connect(p *Place, addr netip.Addr) (victim *Place, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	network, exempt := l.bounds.Networks.of(addr)
	if err := l.tooMany(network.Addr(), exempt, p.since); err != nil {
		return nil, err
	}
	if l.noRoom() {
		if victim = l.crowds.victim(network.Addr(), p.since); victim == nil || l.leaving >= atOnce {
			return nil, limitError{"connections in all"}
		}
		l.crowds.leave(victim)
		victim.state = leaving
		l.leaving++
	}
	l.places++
	l.enter(p, network.Addr(), exempt)
	return victim, nil
}

// atOnce is how many may be on their way out: until they are gone, the house holds
// so many more than it has room for.
const atOnce = 16

// noRoom tells whether somebody must leave before one more comes.
func (l *Limits) noRoom() bool {
	b := l.bounds
	return b.Connections > 0 && l.places+l.sessions-l.leaving >= b.Connections ||
		b.Logins > 0 && l.crowds.people >= b.Logins
}

// tooMany tells whether a network has too many strangers. One that has not, has one
// more from now on as far as the minute is concerned.
func (l *Limits) tooMany(network netip.Addr, exempt bool, now time.Time) error {
	switch b := l.bounds; {
	case exempt:
	case b.LoginsPerAddress > 0 && l.crowds.of(network) >= b.LoginsPerAddress:
		return limitError{"connections from this address before login"}
	case !l.rates.take(network, now, b.LoginsPerMinute):
		return limitError{"connections from this address in a minute"}
	}
	return nil
}

func (l *Limits) enter(p *Place, network netip.Addr, exempt bool) {
	p.network, p.state = network, exempted
	if !exempt {
		p.state = stranger
		l.crowds.join(p)
	}
}

// Move counts a connection under another address from now on: a front end that is
// trusted has told who stands behind it. The error is that of Connect; the connection
// is not counted under either then, and is to be ended.
func (p *Place) Move(addr netip.Addr) error {
	if p == nil {
		return nil
	}
	l, now := p.limits, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	network, exempt := l.bounds.Networks.of(addr)
	if p.state > exempted || p.network == network.Addr() {
		return nil
	}
	l.forget(p)
	p.state = proven // if there are too many
	if err := l.tooMany(network.Addr(), exempt, now); err != nil {
		return err
	}
	l.enter(p, network.Addr(), exempt)
	return nil
}

// Proven says that the client has shown who it is: it need not make room for others,
// and does not count as one of those who try.
func (p *Place) Proven() {
	if p == nil {
		return
	}
	p.limits.mu.Lock()
	defer p.limits.mu.Unlock()
	if p.state <= exempted {
		p.limits.forget(p)
		p.state = proven
	}
}

// forget takes a stranger out of its network.
func (l *Limits) forget(p *Place) {
	if p.state == stranger {
		l.crowds.leave(p)
		l.rates.giveBack(p.network, l.bounds.LoginsPerMinute)
	}
}

// Release gives the place back, once.
func (p *Place) Release() {
	if p == nil {
		return
	}
	l := p.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	switch p.state {
	case gone:
		return
	case stranger:
		l.crowds.leave(p)
	case leaving:
		l.leaving--
	}
	p.state = gone
	l.places--
}
