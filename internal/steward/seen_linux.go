package steward

import (
	"cmp"
	"slices"
)

// Relays are the relay processes that this usher has to do with, the oldest first. There
// are several while one is replaced.
func (e *Engine) Relays() (list []Relay) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sessions := map[*link]int{}
	for _, s := range e.seats {
		sessions[s.at]++
	}
	links := make([]*link, 0, len(e.links))
	for l := range e.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b *link) int { return cmp.Compare(a.nth, b.nth) })
	for _, l := range links {
		list = append(list, Relay{PID: int(l.pid), Build: l.build, Sessions: sessions[l], State: l.state()})
	}
	return list
}

// state is what the steward behind a link is doing.
func (l *link) state() string {
	switch {
	case l.retired.Load():
		return Replaced
	case l.slow():
		return Slow
	}
	return Relaying
}
