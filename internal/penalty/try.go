package penalty

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// A Try is a password that is being looked at. Its zero value counts nowhere.
type Try struct {
	p       *Penalties // nil: it is over
	from    netip.Prefix
	name    string
	friend  bool
	network *network  // of a stranger
	looked  bool      // the network counts it as busy
	until   time.Time // it waits no longer; zero: it does not wait
}

// waits tells whether it stands in line.
func (t *Try) waits() bool { return !t.until.IsZero() }

// Void says that nobody could tell.
func (t *Try) Void() { t.end(func(time.Time) { t.release(false) }) }

// Right says that the password was the user's.
func (t *Try) Right() {
	if t.friend { // nothing changes
		t.p = nil
		return
	}
	t.end(func(time.Time) {
		t.release(false)
		t.p.befriend(t)
	})
}

// Wrong says that the password was wrong. shown is what the client has shown, to tell a
// guess from one that was made before; "" if that cannot be told. A stranger's next try
// would not be looked at before open: a friend's answer waits as long, or it would tell
// who is a friend here.
func (t *Try) Wrong(shown string) (open time.Time) {
	if t.p == nil {
		return time.Time{}
	}
	here, anywhere := t.p.secret.digest(shown, t.name, t.from.String()), t.p.secret.digest(shown, t.name)
	t.end(func(now time.Time) {
		p := t.p
		t.release(true)
		fresh, news := p.isNew(here, shown), p.isNew(anywhere, shown)
		if t.friend {
			open = p.opens(p.networkOf(t.from), t.name, now).Add(p.chance())
			if fresh {
				p.disappoint(t, now)
			}
			return
		}
		if fresh {
			t.network.guess(p, now)
		}
		if news && t.name != "" { // whoever says no name guesses about nobody
			p.userOf(t.name).guess(now)
		}
	})
	return open
}

// end ends a try, once.
func (t *Try) end(how func(now time.Time)) {
	if t.p == nil {
		return
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	how(time.Now())
	t.p = nil
}

// release lets the next stranger of the network go.
func (t *Try) release(wrong bool) {
	if t.looked {
		t.network.end(wrong)
	}
}

// A friend is a user together with a network that he has logged in from.
type friend uint64

func (p *Penalties) friendOf(t *Try) friend {
	site := t.from.Addr().As16()
	return friend(maphash.Bytes(p.seed, site[:]) ^ maphash.String(p.seed, t.name))
}

// trust is how many wrong passwords make a friend a stranger, until they are forgotten.
const trust = 5

func (p *Penalties) isFriend(t *Try, now time.Time) bool {
	guesses, known := p.friends.Get(p.friendOf(t))
	t.friend = known && guesses.at(now, forget) < trust
	return t.friend
}

func (p *Penalties) befriend(t *Try) {
	if t.name == "" {
		return // a token says whose it is, to those who have read it
	}
	k := p.friendOf(t)
	if _, known := p.friends.Get(k); !known {
		p.friends.Put(k, tally{})
		n := p.networkOf(t.from)
		n.friends = min(n.friends+1, mostTrust)
	}
}

func (p *Penalties) disappoint(t *Try, now time.Time) {
	k := p.friendOf(t)
	if guesses, known := p.friends.Get(k); known {
		guesses.add(now, forget, trust)
		p.friends.Put(k, guesses)
	}
}

// Know makes a network a friend of a user who is logged in from there already.
func (p *Penalties) Know(from netip.Prefix, name string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.befriend(&Try{from: from, name: lower(name)})
}
