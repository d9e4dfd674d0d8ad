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
	note Note
	done func(relay.Stats)
}

// full is how many words may wait for a steward before it counts as slow.
const full = 256

// keep starts a session here for now.
func (e *Engine) keep(p relay.Pair, done func(relay.Stats)) {
	e.mu.Lock()
	e.strays[p.ID] = stray{p.Note, done}
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
func (e *Engine) unkeep(id uint64) (s stray, ok bool) {
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
			if p, _, ok := e.Local.Release(id); ok {
				s, _ := e.unkeep(id)
				p.Note = s.note
				e.Start(p, s.done)
			}
		}
	}
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
