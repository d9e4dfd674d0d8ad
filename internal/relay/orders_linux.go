package relay

import (
	"sync"

	"golang.org/x/sys/unix"
)

// orders are what others have told a loop, and which pairs they may speak of.
type orders struct {
	mu     sync.Mutex
	told   []func()
	known  map[uint64]int32 // the slots of the pairs; -1: it is on its way into the loop
	wake   int              // eventfd
	closed bool             // the loop takes no more
}

// tell has the loop do something, and returns false if it has ended. It may be
// called by any goroutine.
func (o *orders) tell(do func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue(do)
}

// enter makes a pair known, and has the loop do something with it.
func (o *orders) enter(id uint64, do func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.queue(do) {
		return false
	}
	o.known[id] = -1
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

// knows tells whether a pair was started and has not ended.
func (o *orders) knows(id uint64) (slot int32, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	slot, yes = o.known[id]
	return slot, yes
}

// place notes the slot of a pair.
func (o *orders) place(id uint64, slot int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[id] = slot
}

// leave makes a pair unknown.
func (o *orders) leave(id uint64, slot int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known[id] == slot {
		delete(o.known, id)
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
