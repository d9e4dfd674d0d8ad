package relay

import (
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// orders are what others have told a loop, and which pairs they may speak of.
type orders struct {
	mu     sync.Mutex
	told   []func()
	pairs  map[uint64]*pair
	wake   int  // eventfd
	closed bool // the loop takes no more
}

// tell has the loop do something, and returns false if it has ended. It may be
// called by any goroutine.
func (o *orders) tell(do func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue(do)
}

// enter makes a pair known, and has the loop do something with it.
func (o *orders) enter(pr *pair, do func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.queue(do) {
		return false
	}
	o.pairs[pr.id] = pr
	return true
}

func (o *orders) queue(do func()) bool {
	if o.closed {
		return false
	}
	if o.told = append(o.told, do); len(o.told) == 1 {
		_, _ = unix.Write(o.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot block: it is non-blocking, and counts
	}
	return true
}

// pair returns a pair that was started and has not ended.
func (o *orders) pair(id uint64) *pair {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pairs[id]
}

// leave makes a pair unknown.
func (o *orders) leave(pr *pair) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pairs[pr.id] == pr {
		delete(o.pairs, pr.id)
	}
}

// take returns what was told since it was called last.
func (o *orders) take() []func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	told := o.told
	o.told = nil
	return told
}

// refuse takes no more, and returns what is left.
func (o *orders) refuse() (told []func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.told
}

// remaining are the pairs that have not ended.
func (o *orders) remaining() []*pair {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.pairs))
}
