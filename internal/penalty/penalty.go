// Package penalty decides how long those must wait who guess passwords, and sees to it
// that nobody else does.
//
// A guess is a name with a password that was wrong, and that was not tried before from
// there: an old telephone that says the same all day has guessed once. Guesses count
// against the network that they come from and against the name that they are about,
// whether somebody has it or not.
//
// Before a password is looked at, a stranger's try waits until its network and its name
// are open: after a guess both are closed for a while. Friends do not wait: a network is
// a user's friend once he has logged in from there. And where many are friends,
// strangers are trusted until there have been as many guesses.
//
// Read Begin, then network.go for how long a network is closed, and try.go for what
// becomes of a try.
package penalty

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/recent"
)

// Terms say how severe penalties are. Without Step or Most there are none.
type Terms struct {
	Step    time.Duration // for which a network is closed after one guess
	Most    time.Duration // for which it is closed after many
	Waiting int           // tries that may wait at a time
}

// ErrTooMany is why a try is not looked at: too many wait already, or it has waited for
// too long.
var ErrTooMany = errors.New("too many failed logins from this network or for this name")

// How much is remembered: when it is full, some 20 MB.
const (
	networksKnown = 1 << 15
	usersKnown    = 1 << 15
	friendsKnown  = 1 << 18
	wrongKnown    = 1 << 16
)

// Penalties remember who has guessed. A nil *Penalties has none.
type Penalties struct {
	secret secret
	seed   maphash.Seed
	spread atomic.Int64 // nanoseconds: see chance

	mu       sync.Mutex
	terms    Terms
	networks recent.Table[netip.Prefix, *network]
	users    recent.Table[string, *user]
	friends  recent.Table[friend, tally] // with the guesses of each
	wrong    recent.Table[digest, struct{}]
	house    tally // guesses from networks without friends
	waiting  int
}

// New returns Penalties that remember nothing.
func New(t Terms) *Penalties {
	p := &Penalties{secret: newSecret(), seed: maphash.MakeSeed()}
	p.Set(t)
	p.networks.Most, p.users.Most, p.friends.Most, p.wrong.Most = networksKnown, usersKnown, friendsKnown, wrongKnown
	return p
}

// Set changes the terms. What is remembered stays.
func (p *Penalties) Set(t Terms) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.terms = t
	p.spread.Store(int64(t.Step / 100))
}

// off tells whether there are no penalties.
func (t Terms) off() bool { return t.Step <= 0 || t.Most <= 0 }

// maxName is how much of a name counts.
const maxName = 256

// lower is what of a name counts: most backends do not tell case apart.
func lower(name string) string { return strings.ToLower(name[:min(len(name), maxName)]) }

// Begin returns when a try may be looked at, at once for most. The caller then says
// what became of it: Right, Wrong or Void. name is what the client calls itself, with
// its domain; "": it has not said. waits is called before it waits. The error is ErrTooMany or that of ctx.
func (p *Penalties) Begin(ctx context.Context, from netip.Prefix, name string, waits func()) (Try, error) {
	if p == nil {
		return Try{}, nil
	}
	t := Try{p: p, from: from, name: lower(name)}
	for {
		wait, change, err := p.enter(&t)
		if err != nil || wait == 0 {
			return t, err
		}
		waits()
		if err := p.sleep(ctx, wait, change); err != nil {
			p.giveUp(&t)
			return Try{}, err
		}
	}
}

// sleep waits for a time, for a change, or for ctx.
func (p *Penalties) sleep(ctx context.Context, wait time.Duration, change <-chan struct{}) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-change:
			timer.Reset(p.chance())
			change = nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// chance is how much later than he may one who waits looks again. So chance takes the
// next of those who wait: many honest ones are not kept out by one who always was
// there before them.
func (p *Penalties) chance() time.Duration {
	return rand.N(max(1, time.Duration(p.spread.Load())))
}

// enter lets a try go, or says how long it has to wait at least, unless there is a
// change before.
func (p *Penalties) enter(t *Try) (wait time.Duration, change <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.terms.off():
		p.unline(t)
		t.p = nil
		return 0, nil, nil
	case p.isFriend(t, now):
		p.unline(t)
		return 0, nil, nil
	case t.network == nil:
		t.network = p.networkOf(t.from)
	}
	at := later(now, p.opens(t.network, t.name, now))
	if at.Equal(now) && (t.waits() || t.network.waiting == 0) { // nobody passes those who wait
		p.unline(t)
		t.looked = true
		t.network.begin(now)
		return 0, nil, nil
	}
	if err := p.line(t, now); err != nil {
		return 0, nil, err
	}
	return min(at.Sub(now), t.until.Sub(now)) + p.chance() + 1, t.network.next(), nil
}

// opens is when a stranger may try a name from a network.
func (p *Penalties) opens(n *network, name string, now time.Time) time.Time {
	at := n.opens(p.terms, p.house.at(now, soothe) > calm, now)
	if u, known := p.users.Get(name); known {
		at = later(at, u.opens(p.terms, now))
	}
	return at
}

// line puts a try among those who wait, for a while.
func (p *Penalties) line(t *Try, now time.Time) error {
	switch {
	case !t.waits():
		if p.waiting >= p.terms.Waiting || t.network.waiting >= max(1, p.terms.Waiting/4) {
			return ErrTooMany
		}
		t.until = now.Add(p.terms.Most + p.terms.Most/5) // another may be first
		t.network.waiting++
		p.waiting++
		if w := t.network.waiting; w > many && w&(w-1) == 0 { // twice as many: it opens sooner
			t.network.wake()
		}
	case !now.Before(t.until):
		p.unline(t)
		return ErrTooMany
	}
	return nil
}

func (p *Penalties) unline(t *Try) {
	if t.waits() {
		t.until = time.Time{}
		t.network.waiting--
		p.waiting--
	}
}

func (p *Penalties) giveUp(t *Try) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unline(t)
}
