package penalty

import (
	"net/netip"
	"strings"
	"time"
)

const (
	patient    = 5                // guesses after which a network, or a name, is closed for longer each time
	severe     = 12               // guesses that count
	forget     = 10 * time.Minute // for one guess less
	many       = 10               // who wait at one network
	mostTrust  = 100              // friends that count
	calm       = 20               // guesses from networks without friends, in the whole house: with more it is besieged
	mostGrudge = 2 * calm         // … that count
	soothe     = 6 * time.Second  // for one of these less
)

// A network is where tries come from.
type network struct {
	guesses tally
	friends int       // users that have logged in from here
	guessed time.Time // when last
	began   time.Time // the last stranger's try
	busy    int       // strangers' tries that are being looked at
	failed  bool      // what came out last was wrong
	waiting int       // strangers
	change  chan struct{}
}

// networkOf finds a network, or makes it known.
func (p *Penalties) networkOf(from netip.Prefix) *network {
	n, known := p.networks.Get(from)
	if !known {
		n = &network{}
		p.networks.Put(from, n)
	}
	return n
}

// opens is when the next stranger may try: at once if there were fewer guesses than
// there are friends, also counting those who may be guessing right now; else one by
// one. In a siege, when many networks guess, one guess closes a network for as long as
// many do: there is no other way to tell attackers from those who mistype.
func (n *network) opens(t Terms, siege bool, now time.Time) (at time.Time) {
	level := n.guesses.at(now, forget) - n.friends
	if level+n.busy <= 0 {
		return now
	}
	if n.busy > 0 || n.failed { // a Step at most, however long it takes
		at = n.began.Add(t.Step)
	}
	if level > 0 {
		at = later(at, n.guessed.Add(n.share(t.pause(level, siege))))
	}
	return later(at, now)
}

// share makes a pause shorter where many wait: they are an office rather than
// attackers, and if not, none of them gets more than he would.
func (n *network) share(pause time.Duration) time.Duration {
	return pause * many / time.Duration(max(many, n.waiting))
}

// pause is for how long a guess closes what has so many.
func (t Terms) pause(level int, siege bool) time.Duration {
	if siege {
		return t.Most
	}
	return min(t.Most, t.Step<<max(0, level-patient))
}

// begin lets a stranger try.
func (n *network) begin(now time.Time) {
	n.busy++
	n.began = now
}

// end is when a stranger's try is over.
func (n *network) end(wrong bool) {
	n.busy--
	n.failed = wrong
	n.wake()
}

// wake lets those who wait look again.
func (n *network) wake() {
	if n.change != nil {
		close(n.change)
		n.change = nil
	}
}

// next is closed at the next change.
func (n *network) next() <-chan struct{} {
	if n.change == nil {
		n.change = make(chan struct{})
	}
	return n.change
}

// guess counts one.
func (n *network) guess(p *Penalties, now time.Time) {
	if n.friends == 0 {
		p.house.add(now, soothe, mostGrudge)
	}
	n.guesses.add(now, forget, n.friends+severe)
	n.guessed = now
}

// A user is a name that was guessed about; nobody need have it.
type user struct {
	guesses tally
	guessed time.Time // when last
}

// userOf finds a name, or makes it known.
func (p *Penalties) userOf(name string) *user {
	u, known := p.users.Get(name)
	if !known {
		u = &user{}
		p.users.Put(strings.Clone(name), u) // it is part of a line, which may be long
	}
	return u
}

func (u *user) opens(t Terms, now time.Time) time.Time {
	if level := u.guesses.at(now, forget); level > 0 {
		return u.guessed.Add(t.pause(level, false))
	}
	return now
}

func (u *user) guess(now time.Time) {
	u.guesses.add(now, forget, severe)
	u.guessed = now
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
