package account

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Cache is the Directory of a Reader whose source is far away: it remembers what
// the source said, lets many who ask the same ask it once, and answers from memory
// while the source cannot.
//
// Read Lookup first. How questions are shared stands in asking.go; what is remembered,
// and how it is forgotten, in remembered.go and store.go; what outlives the process in
// disk.go.
type Cache struct {
	reader *Reader
	times  Times
	uses   Uses
	log    *slog.Logger
	store  *store
	disk   *disk // nil: nothing outlives the process
	counts counts
	outage outage

	ctx       context.Context // of questions: until Close
	cancel    context.CancelFunc
	questions sync.WaitGroup
	secret    *secret

	mu      sync.Mutex
	asking  map[subject]*question // questions that are on their way
	flushes int                   // what was asked before the last one is not remembered
}

// CacheOptions say how much a Cache remembers.
type CacheOptions struct {
	Times Times
	Size  int          // accounts at most; a quarter as many are unknown, or were asked for by nobody with the right password; 0: no limit
	Log   *slog.Logger // nil: none
	Disk  *Disk        // where accounts outlive the process; nil: nowhere
}

type counts struct{ hits, misses, stale, joined atomic.Uint64 }

// NewCache returns a Cache around a Reader, which belongs to it. Nothing is read from
// the disk before Restore, and nothing written before Keep.
func NewCache(r *Reader, o CacheOptions) *Cache {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{reader: r, times: o.Times, uses: r.Uses(), log: o.Log, asking: map[subject]*question{}, secret: newSecret()}
	c.outage.log = o.Log
	c.store = newStore(o.Times, o.Size)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Disk != nil && o.Times.Stale > 0 {
		c.disk = newDisk(*o.Disk, c)
		r.disk = c.disk
	}
	return c
}

// Lookup implements Directory. The account belongs to all who have asked for it.
func (c *Cache) Lookup(ctx context.Context, q Query) (*Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for it any more
	}
	now, k := time.Now(), c.key(q)
	if !q.Fresh && c.mayRemember(q) {
		if a, known := c.recall(k, q, now); known {
			c.counts.hits.Add(1)
			if a == nil {
				return nil, ErrUnknown
			}
			return a, nil
		}
	}
	c.counts.misses.Add(1)
	a, err := c.ask(ctx, k, q, now)
	if isAnswer(err) || q.Fresh || ctx.Err() != nil { // what stands in the place of the answer may be wrong: then so is the old one
		return a, err
	}
	return c.stale(k, q, err)
}

// mayRemember tells whether an answer to this question says something about another
// one, too. Of a source that looks at passwords, that is so only if the account can
// tell by itself whether another password is right.
func (c *Cache) mayRemember(q Query) bool {
	return len(q.Name) <= MaxName && (c.uses&UsesPassword == 0 || q.Answer == nil && q.Password != "")
}

// recall is what is remembered, if that is new enough not to ask the source: an
// account, or nil if there is none.
func (c *Cache) recall(k key, q Query, now time.Time) (a *Account, known bool) {
	if e, ok := c.store.get(k); ok && !e.old && now.Sub(e.account.Asked) < c.times.Good && e.answers(q) {
		q.Trace.step(e.step(now))
		return e.account, true
	}
	if asked, ok := c.store.unknown.GetIfPresent(k); ok && now.Sub(asked) < c.times.Unknown {
		q.Trace.step(Step{Source: c.reader.Name, Cached: true, Age: now.Sub(asked), Err: ErrUnknown})
		return nil, true
	}
	return nil, false
}

// stale is the answer to a question to which the source had none: what it said last,
// unless that is too long ago. Whoever checks a password by it knows from Asked that
// it is old, and takes no wrong one for wrong.
func (c *Cache) stale(k key, q Query, why error) (*Account, error) {
	now := time.Now()
	e, ok := c.store.get(k)
	if !ok || !c.mayRemember(q) || now.Sub(e.account.Asked) >= c.times.Stale || !e.answers(q) {
		return nil, why
	}
	c.counts.stale.Add(1)
	c.outage.answered(why)
	q.Trace.step(e.step(now))
	return e.account, nil
}

// Close ends the questions that are on their way, saves what outlives the process, and
// closes the Reader. Nobody may ask any more.
func (c *Cache) Close() error {
	c.mu.Lock() // no question begins from now on
	c.cancel()
	c.mu.Unlock()
	c.questions.Wait()
	c.disk.save()
	c.Rest()
	c.store.close()
	return c.reader.Close()
}

// An outage is the time in which a source cannot be asked and logins go by what is
// remembered. That is told when it begins, and when it is over.
type outage struct {
	log *slog.Logger
	on  atomic.Bool

	mu      sync.Mutex
	since   time.Time
	answers int
}

// answered notes an answer from memory.
func (o *outage) answered(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Swap(true) {
		o.since, o.answers = time.Now(), 0
		o.log.Error("an account source cannot be asked: those who are remembered get in with the right password, all others are told to try again later", "err", why)
	}
	o.answers++
}

// over notes that the source has answered.
func (o *outage) over() {
	if !o.on.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on.Swap(false) {
		o.log.Info("an account source answers again", "logins", o.answers, "after", time.Since(o.since).Round(time.Second).String())
	}
}
