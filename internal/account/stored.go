package account

import (
	"iter"
	"net/netip"
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

// A store is what is remembered. Names that anybody can ask for, in any number, have
// places of their own, and push nobody out whose owner has been here. Only the first
// is kept on the disk.
type store struct {
	known   *otter.Cache[key, *entry]    // whose password was right, or is for others to check
	new     *otter.Cache[key, *entry]    // whose password was not right yet
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

// unlimited is how many names that anybody can ask for are remembered where accounts
// have no limit.
const unlimited = 25_000

func newStore(t Times, size int) *store {
	few := max(1, size/4)
	if size == 0 {
		few = unlimited
	}
	most := max(t.Good, t.Stale)
	expires := otter.ExpiryWritingFunc(func(e otter.Entry[key, *entry]) time.Duration {
		return max(time.Millisecond, most-time.Since(e.Value.account.Asked))
	})
	return &store{
		known: otter.Must(&otter.Options[key, *entry]{MaximumSize: size, ExpiryCalculator: expires}),
		new:   otter.Must(&otter.Options[key, *entry]{MaximumSize: few, ExpiryCalculator: expires}),
		unknown: otter.Must(&otter.Options[key, time.Time]{
			MaximumSize:      few,
			ExpiryCalculator: otter.ExpiryWriting[key, time.Time](max(time.Millisecond, t.Unknown)),
		}),
	}
}

func (s *store) get(k key) (e *entry, ok bool) {
	if e, ok = s.known.GetIfPresent(k); !ok {
		e, ok = s.new.GetIfPresent(k)
	}
	return e, ok
}

// drop drops an account, and tells whether there was one.
func (s *store) drop(k key) bool {
	_, known := s.known.Invalidate(k)
	_, isNew := s.new.Invalidate(k)
	return known || isNew
}

// all are all accounts.
func (s *store) all() iter.Seq2[key, *entry] {
	return func(yield func(key, *entry) bool) {
		for _, some := range []*otter.Cache[key, *entry]{s.known, s.new} {
			for k, e := range some.All() {
				if !yield(k, e) {
					return
				}
			}
		}
	}
}

// close ends the store, and lets go of what is in it: of an account that was taken
// over by another Cache something may still point here.
func (s *store) close() {
	s.known.StopAllGoroutines()
	s.new.StopAllGoroutines()
	s.unknown.StopAllGoroutines()
	s.known.InvalidateAll()
	s.new.InvalidateAll()
	s.unknown.InvalidateAll()
}
