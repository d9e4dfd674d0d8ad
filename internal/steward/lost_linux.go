package steward

import (
	"math"
	"time"

	"usher/internal/relay"
)

// What becomes of the sessions of a steward that is gone: they are at a later one, or lost.

// parted is when a link has ended. What its steward had is at another by now, or lost.
func (e *Engine) parted(l *link) {
	e.mu.Lock()
	delete(e.links, l)
	defer e.forget(l)
	if e.over {
		e.mu.Unlock()
		return
	}
	missing := e.link == l
	if missing {
		e.link = nil
	}
	leads := e.leads
	e.mu.Unlock()
	whose := l.sought(math.MaxUint64)
	if l.asks.Load() { // it has not lived to say whether it did
		l.retired.Store(true)
	}
	if l.retired.Load() {
		whose = append(whose, l)
	} else {
		e.lost(l)
	}
	e.seek(l, whose)
	if missing {
		e.again(leads && e.Program != "", nil)
	}
}

// forget forgets a child that is gone.
func (e *Engine) forget(l *link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.children, l.pid)
}

// seek looks for the sessions of stewards that are gone at the next one behind a link, and
// so on: they move in that order, and what has left one is told by the next before that
// one is asked. What is nowhere is lost.
func (e *Engine) seek(behind *link, whose []*link) {
	if len(whose) == 0 {
		return
	}
	e.mu.Lock()
	next := e.next(behind)
	var list *word
	switch {
	case next != nil:
		list = next.seeks(whose)
		whose = nil
	case behind.retired.Load(): // the one that has replaced it is yet to be found
		e.sought = append(e.sought, whose...)
		whose = nil
	}
	e.mu.Unlock()
	if list != nil {
		next.out.post(list)
	}
	for _, old := range whose {
		e.lost(old)
	}
}

// next is the next steward behind one. It is called with mu held.
func (e *Engine) next(behind *link) (next *link) {
	for l := range e.links {
		if l.nth > behind.nth && (next == nil || l.nth < next.nth) {
			next = l
		}
	}
	return next
}

// seeks returns what asks for a list of what is here, for the sessions of stewards that are
// gone. It is called with the engine's mu held, so that the link does not end meanwhile; the
// word is posted without, as what cannot be sent comes back.
func (l *link) seeks(whose []*link) *word {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = append(l.after, whose...)
	l.lists++
	return &word{kind: list, n: l.lists}
}

// sought are those whose sessions were sought here, when the list of that number was told.
// Lists that were begun before say nothing of them.
func (l *link) sought(n uint64) (whose []*link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < l.lists {
		return nil
	}
	whose, l.after = l.after, nil
	return whose
}

// lost ends the sessions of a steward that is gone.
func (e *Engine) lost(l *link) {
	e.hearing.Lock()
	defer e.hearing.Unlock()
	left := e.vacate(l)
	e.mu.Lock()
	leads := e.leads
	own := e.children[l.pid]
	e.mu.Unlock()
	if len(left) > 0 || leads && !l.retired.Load() {
		how := "unknown: its parent is another process"
		if own != nil {
			how = own.fate()
		}
		what := "the relay process has ended: its sessions are lost, new ones go to another"
		if len(left) == 0 {
			what = "the relay process has ended: new sessions go to another"
		}
		e.Log.Error(what, "pid", l.pid, "sessions", len(left), "how", how)
	}
	vacated(left, relay.Stats{Ended: relay.Lost, Last: time.Now()})
}
