package penalty

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Penalty is what is held against a network or against a name.
type Penalty struct {
	Network netip.Prefix // the zero value: it is about a name
	User    string
	Guesses int       // that are not forgotten yet
	Friends int       // users that have logged in from the network
	Waiting int       // tries from there that wait
	Until   time.Time // strangers may not try before
}

// List is what is held against anybody now, the most guesses first.
func (p *Penalties) List() (list []Penalty) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	siege := p.house.at(now, soothe) > calm
	for prefix, n := range p.networks.All() {
		if guesses := n.guesses.at(now, forget); guesses > 0 {
			list = append(list, Penalty{prefix, "", guesses, n.friends, n.waiting, n.opens(p.terms, siege, now)})
		}
	}
	for name, u := range p.users.All() {
		if guesses := u.guesses.at(now, forget); guesses > 0 {
			list = append(list, Penalty{User: name, Guesses: guesses, Until: later(now, u.opens(p.terms, now))})
		}
	}
	slices.SortFunc(list, func(a, b Penalty) int {
		return cmp.Or(cmp.Compare(b.Guesses, a.Guesses), strings.Compare(a.User, b.User), a.Network.Compare(b.Network))
	})
	return list
}

// Forgive forgets the guesses of the networks within one, and returns how many had made
// some.
func (p *Penalties) Forgive(within netip.Prefix) (n int) {
	return p.forgive(func(x netip.Prefix) bool { return within.Overlaps(x) }, func(string) bool { return false })
}

// ForgiveUser forgets the guesses about a name.
func (p *Penalties) ForgiveUser(name string) (n int) {
	name = lower(name)
	return p.forgive(func(netip.Prefix) bool { return false }, func(x string) bool { return x == name })
}

// ForgiveAll forgets all guesses.
func (p *Penalties) ForgiveAll() (n int) {
	n = p.forgive(func(netip.Prefix) bool { return true }, func(string) bool { return true })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.house = tally{}
	return n
}

func (p *Penalties) forgive(network func(netip.Prefix) bool, user func(string) bool) (forgiven int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for prefix, n := range p.networks.All() {
		if network(prefix) && n.guesses.at(now, forget) > 0 {
			n.guesses, n.failed = tally{}, false
			n.wake()
			forgiven++
		}
	}
	for name, u := range p.users.All() {
		if user(name) && u.guesses.at(now, forget) > 0 {
			u.guesses = tally{}
			forgiven++
		}
	}
	return forgiven
}
