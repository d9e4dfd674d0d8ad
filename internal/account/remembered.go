package account

import (
	"errors"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
)

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
	case errors.As(err, &wrongRow{}): // what stands there now may be meant to keep somebody out
		c.forget(k)
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
	is, ok := c.store.get(k)
	if ok && is.account.Asked.After(f.account.Asked) {
		return
	}
	e := &entry{account: f.account}
	if c.disk != nil {
		e.fields = f.fields.lasting()
	}
	if _, known := c.store.known.GetEntryQuietly(k); !known && c.isNew(k, e) {
		c.store.new.Set(k, e)
		return
	}
	c.admit(k, e)
}

// isNew tells whether a password of the account is still to be right for the first
// time. When it is, the account gets its place.
func (c *Cache) isNew(k key, e *entry) bool {
	if _, shows := e.account.Proof.(shown); shows || e.account.Proof == nil {
		return false
	}
	return e.account.Memory.whenRight(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if is, ok := c.store.new.GetEntryQuietly(k); ok && is.Value == e { // and was not forgotten
			c.admit(k, e)
		}
	})
}

// admit gives an account its place among those who have been here.
func (c *Cache) admit(k key, e *entry) {
	c.store.known.Set(k, e)
	c.store.new.Invalidate(k)
	c.disk.touch()
}

// forget drops what is remembered of a name that the source does not know any more.
func (c *Cache) forget(k key) {
	if c.store.drop(k) {
		c.disk.touch()
	}
}

// refused drops an account that would let in with the very password that the source
// has just found wrong: the right one is another now.
func (c *Cache) refused(k key, q Query) {
	e, ok := c.store.get(k)
	if !ok || q.Answer != nil {
		return
	}
	if p, is := e.account.Proof.(shown); is && p.fits(q.Password) {
		e.account.Memory.Refuse(p, q.Password)
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
	for k, e := range c.store.all() {
		if matches(k.Name) || matches(e.account.Name) {
			e.account.Memory.Forget() // others of the same account share it
			c.store.drop(k)
			n++
		}
	}
	for k := range c.store.unknown.All() {
		if matches(k.Name) {
			c.store.unknown.Invalidate(k)
			n++
		}
	}
	c.reader.remembers().forget(matches)
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
		c.adopt(c.store.known, k, e.account, e.fields)
	}
	for k, e := range before.store.new.All() {
		c.adopt(c.store.new, k, e.account, e.fields)
	}
}

// adopt remembers an account from another time, to be used only while the source
// cannot tell. It tells whether it has: what is too old is of no use.
func (c *Cache) adopt(into *otter.Cache[key, *entry], k key, a *Account, f Fields) bool {
	if age := time.Since(a.Asked); age >= c.times.Stale || age < -time.Minute { // or the clock was turned back
		return false
	}
	if c.disk == nil {
		f = nil
	}
	_, set := into.SetIfAbsent(k, &entry{account: a, fields: f, old: true})
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
	for _, e := range c.store.all() {
		s.Entries++
		s.Oldest = max(s.Oldest, now.Sub(e.account.Asked))
	}
	for range c.store.unknown.Values() {
		s.Unknown++
	}
	return s
}
