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

// expire ends a session when its time is over. forget is to be called when it has
// ended: it waits for nothing.
func (d *Desk) expire(id session.ID, until time.Time) (forget func()) {
	if until.IsZero() {
		return func() {}
	}
	var mu sync.Mutex
	over := false
	var timer *time.Timer
	mu.Lock() // until the timer is there
	defer mu.Unlock()
	timer = time.AfterFunc(time.Until(until), func() {
		ended := d.Relay.Kick(uint64(id), relay.Expired)
		mu.Lock()
		defer mu.Unlock()
		if !ended && !over {
			timer.Reset(kickAgain)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}
