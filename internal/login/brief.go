package login

import (
	"sync"
	"time"
)

// quietFor is how long nothing more is said after a line in the log.
const quietFor = time.Second

// A Brief is for what happens often and is to be one line a second in the log. The
// zero value is ready.
type Brief struct {
	mu     sync.Mutex
	silent int       // times since the last line
	said   time.Time // when that was
}

// ToSay tells whether to write a line, and for how many others it stands.
func (b *Brief) ToSay(now time.Time) (others int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.said) < quietFor {
		b.silent++
		return 0, false
	}
	others, b.silent, b.said = b.silent, 0, now
	return others, true
}
