package steward

import "usher/internal/relay"

// endings are the sessions that have ended, until an usher says that it has logged them.
type endings struct {
	list  []ending
	first uint64 // the number of list[0]
	lost  uint64 // were forgotten, as there were too many
}

type ending struct {
	id    uint64
	stats relay.Stats
	note  string
}

// maxEndings is how many are kept while nobody hears them.
const maxEndings = 100_000

func (e *endings) add(one ending) {
	if len(e.list) == maxEndings {
		e.list = e.list[1:]
		e.first++
		e.lost++
	}
	e.list = append(e.list, one)
}

func (e *endings) none() bool { return len(e.list) == 0 }

// after returns some of those from a number on, and the number behind them.
func (e *endings) after(next uint64) (some []ending, behind uint64) {
	next = max(next, e.first)
	from := int(next - e.first)
	if from >= len(e.list) {
		return nil, next
	}
	to := min(len(e.list), from+chunk)
	return append([]ending(nil), e.list[from:to]...), e.first + uint64(to)
}

// chunk is how many sessions are told at once.
const chunk = 256

// heard forgets those before a number.
func (e *endings) heard(before uint64) {
	if before <= e.first {
		return
	}
	n := min(before-e.first, uint64(len(e.list)))
	clear(e.list[:n])
	e.list = e.list[n:]
	e.first += n
	if len(e.list) == 0 {
		e.list = nil
	}
}

// until takes those out that come before a number.
func (e *endings) until(next uint64) (some endings) {
	n := min(next-min(next, e.first), uint64(len(e.list)))
	some = endings{list: append([]ending(nil), e.list[:n]...), first: e.first}
	e.heard(next)
	return some
}

// forget gives all away.
func (e *endings) forget() (all []ending) {
	all, e.list = e.list, nil
	e.first += uint64(len(all))
	return all
}

func (e ending) word() *word {
	return &word{kind: ended, id: e.id, stats: e.stats, text: []byte(e.note)}
}
