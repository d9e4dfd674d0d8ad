package steward

import "time"

// How a steward is left that was replaced.

// part leaves a steward that has nothing left: who comes is its successor's. What we have said
// last it may not have read: it is asked, and left when it has nothing still.
func (l *link) part() {
	l.mu.Lock()
	again := l.leaving
	l.leaving = true
	l.retired.Store(true)
	l.mu.Unlock()
	if again {
		return
	}
	go func() { // hear goes on meanwhile
		l.e.goOn(l)
		l.askWhatIsLeft()
	}()
}

// askWhatIsLeft has all sessions told that are there behind what we have said.
func (l *link) askWhatIsLeft() {
	l.mu.Lock()
	l.lists++
	l.parting, l.stays = l.lists, false
	w := &word{kind: list, n: l.lists}
	l.mu.Unlock()
	l.out.post(w)
}

// toldLeft is when all sessions of a list were told. What was there moves on: were the steward
// left before it has, it would be sought at the next one before it is there, and called lost.
func (l *link) toldLeft(n uint64) {
	l.mu.Lock()
	asked, stays := l.parting > 0 && n >= l.parting, l.stays
	if asked {
		l.parting = 0
	}
	l.mu.Unlock()
	switch {
	case !asked:
	case stays:
		time.AfterFunc(againLeft, l.askWhatIsLeft)
	default:
		go func() {
			l.confirm()
			l.out.drain(0)
			l.close()
		}()
	}
}

// againLeft is the time between questions to a steward for what is left.
const againLeft = 100 * time.Millisecond

// parts tells whether the link is about to end.
func (l *link) parts() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving || l.closed
}
