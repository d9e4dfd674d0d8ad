package relay

import (
	"sync"
	"time"
)

const chunk = 16 << 10 // bytes read at once: one full TLS record

// Goroutines is the reference Engine: two goroutines and two buffers for each
// pair, on every system.
type Goroutines struct {
	mu    sync.Mutex
	pairs map[uint64]*running
	patience
}

// patience is how long peers may take at the end of a pair.
type patience struct {
	client   time.Duration // to leave after its server has
	server   time.Duration // to go on after its client has left, between bytes
	farewell time.Duration // the client, to hear goodbye
}

var usual = patience{client: 5 * time.Second, server: time.Minute, farewell: 2 * time.Second}

// NewGoroutines returns an engine without pairs.
func NewGoroutines() *Goroutines {
	return &Goroutines{pairs: map[uint64]*running{}, patience: usual}
}

// Start implements Engine.
func (e *Goroutines) Start(p Pair, done func(Stats)) {
	r := newRunning(p, e.patience, done)
	e.mu.Lock()
	e.pairs[p.ID] = r
	e.mu.Unlock()
	go func() {
		r.run()
		if r.fate.Load() != released {
			e.forget(p.ID)
			done(r.stats())
		}
	}()
}

func (e *Goroutines) pair(id uint64) *running {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pairs[id]
}

func (e *Goroutines) forget(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pairs, id)
}

// Kick implements Engine. The goodbye is said in the background: a client that
// does not read holds nobody up.
func (e *Goroutines) Kick(id uint64, why Ending) bool {
	r := e.pair(id)
	if r == nil {
		return false
	}
	if r.fate.CompareAndSwap(going, dismissed) {
		go r.dismiss(why)
	}
	return r.fate.Load() != released
}

// Release implements Engine.
func (e *Goroutines) Release(id uint64) (p Pair, done func(Stats), ok bool) {
	r := e.pair(id)
	if r == nil || !r.release() {
		return Pair{}, nil, false
	}
	e.forget(id)
	return r.asPair(), r.done, true
}
