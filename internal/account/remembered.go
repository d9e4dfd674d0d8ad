package account

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
)

// A key is what an answer depends on. What the source does not look at is left out.
// It has no pointers but in strings: looking something up allocates nothing.
type key struct {
	Name, Protocol, ServerName string
	Remote, Local              host
	TLS                        bool
}

// A host is an address without its port.
type host struct {
	IP   [16]byte
	Zone string
}

func hostOf(a netip.AddrPort) host {
	return host{a.Addr().As16(), a.Addr().Zone()}
}

func (c *Cache) key(q Query) key {
	k := key{Name: q.Name, Protocol: q.Protocol}
	if c.uses&UsesRemote != 0 {
		k.Remote = hostOf(q.Remote)
	}
	if c.uses&UsesLocal != 0 {
		k.Local = hostOf(q.Local)
	}
	if c.uses&UsesServerName != 0 {
		k.ServerName = q.ServerName
	}
	k.TLS = c.uses&UsesTLS != 0 && q.TLS
	return k
}

// A store is what is remembered. Unknown names have a place of their own: anybody
// can ask for any number of them, and they shall not push accounts out.
type store struct {
	known   *otter.Cache[key, *entry]
	unknown *otter.Cache[key, time.Time] // when the source did not know it
}

// An entry is an account as the source said it. It is not changed.
type entry struct {
	account *Account
	fields  Fields // of which it was made; only if it is to outlive the process
	old     bool   // the source is to be asked before this is used
}

// answers tells whether the entry says anything about this query. Where the source has
// looked at the password, only of the same one.
func (e *entry) answers(q Query) bool {
	p, is := e.account.Proof.(shown)
	return !is || p.fits(q.Password)
}

func (e *entry) step(now time.Time) Step {
	return Step{Source: e.account.Source, Cached: true, Age: now.Sub(e.account.Asked), Fields: e.fields}
}

// unlimited is how many unknown names are remembered where accounts have no limit.
const unlimited = 25_000

func newStore(t Times, size int) *store {
	few := max(1, size/4)
	if size == 0 {
		few = unlimited
	}
	return &store{
		known: otter.Must(&otter.Options[key, *entry]{
			MaximumSize: size,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[key, *entry]) time.Duration {
				return max(time.Millisecond, max(t.Good, t.Stale)-time.Since(e.Value.account.Asked))
			}),
		}),
		unknown: otter.Must(&otter.Options[key, time.Time]{
			MaximumSize:      few,
			ExpiryCalculator: otter.ExpiryWriting[key, time.Time](max(time.Millisecond, t.Unknown)),
		}),
	}
}

func (s *store) close() {
	s.known.StopAllGoroutines()
	s.unknown.StopAllGoroutines()
}

// learn remembers an answer. It is called with c.mu held.
func (c *Cache) learn(k key, q Query, f found, err error, began time.Time) {
	switch {
	case errors.Is(err, ErrUnknown):
		c.forget(k)
		if c.times.Unknown > 0 && c.uses&UsesPassword == 0 {
			c.store.unknown.Set(k, began)
		}
	case errors.Is(err, ErrRefused):
		c.refused(k, q)
	case err == nil:
		c.remember(k, q, f)
	}
}

// remember remembers an account, unless what is remembered of it is newer.
func (c *Cache) remember(k key, q Query, f found) {
	c.store.unknown.Invalidate(k)
	untold := c.uses&UsesPassword != 0 && f.account.Proof == nil // who comes with another password might not be known
	if c.times.Good == 0 && c.times.Stale == 0 || !c.mayRemember(q) || untold {
		return
	}
	if is, ok := c.store.known.GetEntryQuietly(k); ok && is.Value.account.Asked.After(f.account.Asked) {
		return
	}
	e := &entry{account: f.account}
	if c.disk != nil {
		e.fields = f.fields.lasting()
	}
	c.store.known.Set(k, e)
	c.disk.touch()
}

// forget drops what is remembered of a name that the source does not know any more.
func (c *Cache) forget(k key) {
	if _, was := c.store.known.Invalidate(k); was {
		c.disk.touch()
	}
}

// refused drops an account that would let in with the very password that the source
// has just found wrong: the right one is another now.
func (c *Cache) refused(k key, q Query) {
	e, ok := c.store.known.GetEntryQuietly(k)
	if !ok || q.Answer != nil {
		return
	}
	if p, is := e.Value.account.Proof.(shown); is && p.fits(q.Password) {
		e.Value.account.Memory.Refuse(p, q.Password)
		c.forget(k)
	}
}

// Flush forgets a user: every entry with that name or of the account with that name,
// in any case of letters, and the password that was right. It returns how many
// entries there were. It is for somebody whose password was stolen, too: other than
// by a reload, nothing is left for the time in which the source is down, neither here
// nor on the disk.
func (c *Cache) Flush(name string) int {
	return c.flush(func(is string) bool { return strings.EqualFold(is, name) })
}

// FlushAll forgets everybody, for good, as Flush does.
func (c *Cache) FlushAll() int { return c.flush(func(string) bool { return true }) }

func (c *Cache) flush(matches func(string) bool) (n int) {
	c.mu.Lock()
	c.flushes++
	clear(c.asking) // who asks from now on does not get an answer from before
	for k, e := range c.store.known.All() {
		if matches(k.Name) || matches(e.account.Name) {
			e.account.Memory.Forget() // others of the same account share it
			c.store.known.Invalidate(k)
			n++
		}
	}
	for k := range c.store.unknown.All() {
		if matches(k.Name) {
			c.store.unknown.Invalidate(k)
			n++
		}
	}
	c.reader.forget(matches)
	c.mu.Unlock()
	c.disk.erase()
	return n
}

// Inherit takes over what the Cache remembers that stood here before a reload; both
// are of the same settings of a source. A reload is to empty it: each account is
// asked for again at its next login. But a reload while the source is down shall lock
// nobody out: only if the source cannot tell is the old answer used. What was
// unknown is not taken over.
func (c *Cache) Inherit(before *Cache) {
	for k, e := range before.store.known.All() {
		c.adopt(k, e.account, e.fields)
	}
}

// adopt remembers an account from another time, to be used only while the source
// cannot tell. It tells whether it has: what is too old is of no use.
func (c *Cache) adopt(k key, a *Account, f Fields) bool {
	if age := time.Since(a.Asked); age >= c.times.Stale || age < -time.Minute { // or the clock was turned back
		return false
	}
	if c.disk == nil {
		f = nil
	}
	_, set := c.store.known.SetIfAbsent(k, &entry{account: a, fields: f, old: true})
	return set
}

// CacheStats say what a Cache has done since it began, and what it holds.
type CacheStats struct {
	Entries int           // accounts that are remembered
	Unknown int           // names that are known to be unknown
	Oldest  time.Duration // how long ago the source said the oldest of Entries
	Hits    uint64        // answers from memory
	Misses  uint64        // questions for which the source was asked, alone or with others
	Joined  uint64        // those of Misses that waited for somebody else's question
	Stale   uint64        // answers from memory because the source could not tell
}

// Stats counts. It looks at every entry.
func (c *Cache) Stats() CacheStats {
	s := CacheStats{Hits: c.counts.hits.Load(), Misses: c.counts.misses.Load(), Joined: c.counts.joined.Load(), Stale: c.counts.stale.Load()}
	now := time.Now()
	for e := range c.store.known.Values() {
		s.Entries++
		s.Oldest = max(s.Oldest, now.Sub(e.account.Asked))
	}
	for range c.store.unknown.Values() {
		s.Unknown++
	}
	return s
}
