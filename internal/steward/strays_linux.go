package steward

import (
	"maps"
	"slices"
	"time"

	"usher/internal/relay"
)

// A stray is a session that a steward could have, but that is with the engine of this
// process: when it began there was no steward, or a slow one. It would end with us, so it
// is brought there as soon as that can be.
type stray struct {
	note    Note
	done    func(relay.Stats)
	carried bool         // it is on its way there, and in no engine, or may be
	missed  relay.Ending // it is to be kicked when it has arrived; "": it is not
}

// full is how many words may wait for a steward before it counts as slow.
const full = 256

// keep starts a session here for now.
func (e *Engine) keep(p relay.Pair, done func(relay.Stats)) {
	e.mu.Lock()
	e.strays[p.ID] = &stray{note: p.Note, done: done}
	begin := !e.gathering
	e.gathering = true
	e.mu.Unlock()
	e.Local.Start(p, func(st relay.Stats) {
		e.unkeep(p.ID)
		done(st)
	})
	if begin {
		go e.gather()
	}
}

// unkeep is when a session is here no more.
func (e *Engine) unkeep(id uint64) (s *stray, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok = e.strays[id]
	delete(e.strays, id)
	return s, ok
}

// againStray is the longest time between attempts to bring those that are not at rest.
const againStray = time.Second

// gather brings strays to the steward, until there are none.
func (e *Engine) gather() {
	for wait := againFirst; ; wait = min(2*wait, againStray) {
		time.Sleep(wait)
		ids, over := e.astray()
		if over {
			return
		}
		for _, id := range ids {
			e.carry(id)
		}
	}
}

// carry brings one, if it is at rest. Whoever kicks it meanwhile does so behind it.
func (e *Engine) carry(id uint64) {
	e.mu.Lock()
	s, ok := e.strays[id]
	if ok {
		s.carried = true
	}
	e.mu.Unlock()
	if !ok {
		return
	}
	p, _, ok := e.Local.Release(id)
	if ok {
		p.Note = s.note
		e.Start(p, s.done)
	}
	e.mu.Lock()
	if ok && e.strays[id] == s { // else it is one again
		delete(e.strays, id)
	}
	s.carried = false
	missed := s.missed
	e.mu.Unlock()
	if missed != "" {
		e.Kick(id, missed)
	}
}

// missed notes that a session is to be kicked that is on its way to a steward, and tells
// whether one is. It is called with mu held.
func (e *Engine) missed(id uint64, why relay.Ending) bool {
	s := e.strays[id]
	if s == nil || !s.carried {
		return false
	}
	s.missed = why
	return true
}

// astray are those that could be brought now.
func (e *Engine) astray() (ids []uint64, over bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.over || len(e.strays) == 0:
		e.gathering = false
		return nil, true
	case e.link == nil || e.link.out.waiting() > 0 || e.link.slow():
		return nil, false
	}
	ids = slices.Collect(maps.Keys(e.strays))
	return ids[:min(len(ids), full)], false
}
