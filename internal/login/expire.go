package login

import (
	"sync"
	"time"

	"usher/internal/relay"
	"usher/internal/session"
)

// kickAgain is how soon a session is to be ended that was in no relay: it has not begun
// yet, or is on its way to another process, and may come back.
const kickAgain = time.Second

// expiries end sessions when what proved their clients does not hold any more.
type expiries struct {
	mu     sync.Mutex
	timers map[session.ID]*time.Timer
}

// add has a session ended at a time; the zero time is none. remove is to be called when it
// has ended.
func (e *expiries) add(id session.ID, until time.Time, engine relay.Engine) {
	if until.IsZero() {
		return
	}
	e.mu.Lock() // until the timer is there
	defer e.mu.Unlock()
	if e.timers == nil {
		e.timers = map[session.ID]*time.Timer{}
	}
	if t := e.timers[id]; t != nil {
		t.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(until), func() {
		ended := engine.Kick(uint64(id), relay.Expired)
		e.mu.Lock()
		defer e.mu.Unlock()
		if !ended && e.timers[id] == timer {
			timer.Reset(kickAgain)
		}
	})
	e.timers[id] = timer
}

// remove lets a session be. It waits for nothing.
func (e *expiries) remove(id session.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.timers[id]; t != nil {
		t.Stop()
		delete(e.timers, id)
	}
}
