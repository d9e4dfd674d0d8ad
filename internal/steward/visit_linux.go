package steward

import (
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"usher/internal/relay"
)

// A visit is an usher's connection.
type visit struct {
	s     *Steward
	out   *outbox
	in    *inbox
	woken chan struct{} // there is something to tell
	over  chan struct{} // closed at the end

	// Under the steward's mu: what the one who leads is still to be told.
	list  []uint64 // sessions
	all   bool     // they are being told
	asked uint64   // by which list
	next  uint64   // the first ending that it was not told
	owes  endings  // that it was told while it led, and has not logged yet
}

// enter begins a visit.
func (s *Steward) enter(nc *net.UnixConn) {
	v := &visit{s: s, in: newInbox(nc), woken: make(chan struct{}, 1), over: make(chan struct{})}
	out, err := newOutbox(nc, func(w *word) { v.back(w) })
	if err != nil {
		_ = nc.Close()
		return
	}
	v.out = out
	s.mu.Lock()
	s.visits[v] = true
	s.waits.Stop()
	n := len(s.guests)
	s.mu.Unlock()
	out.post(&word{kind: welcome, n: format, id: uint64(os.Getpid()), text: []byte(s.Build), stats: relay.Stats{FromClient: uint64(n)}})
	go v.hear()
	go v.tell()
}

// back takes what could not be sent: a session that was to be released goes on here.
func (v *visit) back(w *word) {
	if w.kind == released {
		w.pair.Note = w.text
		go v.s.take(w.pair, nil)
	}
}

// hear does what the usher asks for, until it is gone.
func (v *visit) hear() {
	defer v.leave()
	for {
		words, err := v.in.next()
		if err != nil {
			return
		}
		for i := range words {
			v.obey(&words[i])
		}
	}
}

// leave ends the visit.
func (v *visit) leave() {
	s := v.s
	v.out.close()
	close(v.over)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.visits, v)
	if s.leader == v {
		s.leader = nil
	}
	s.tellAgain(v)
	s.tellEnds()
	for id, g := range s.guests { // or it would be kept for as long as they stay
		if g.of == v {
			g.of = nil
			s.guests[id] = g
		}
	}
	s.leave()
}

func (v *visit) obey(w *word) {
	s := v.s
	switch w.kind {
	case lead:
		v.lead()
	case list:
		v.relist(w.n)
	case start:
		if w.fds[0] < 0 { // there was no descriptor left for it
			s.lost(w)
			return
		}
		s.take(w.arrived(), v)
	case kick:
		s.kick(w)
	case release:
		v.release(w.id)
	case heard:
		v.heard(w.n)
	case retire:
		answer := &word{kind: retiring}
		if s.retire(w.fds[0]) {
			answer.n = 1
		}
		v.out.post(answer)
	default:
		w.drop()
	}
}

// heard forgets the endings before a number, which this usher has logged.
func (v *visit) heard(n uint64) {
	s := v.s
	s.mu.Lock()
	defer s.mu.Unlock()
	v.owes.heard(n)
	if s.leader == v {
		s.ends.heard(n)
		s.leave()
	}
}

// tellAgain has others told what an usher has not said to have logged: rather twice than
// never. It is called with mu held.
func (s *Steward) tellAgain(v *visit) {
	for _, e := range v.owes.forget() {
		s.ends.add(e)
	}
}

// lost is a session whose sockets have not arrived.
func (s *Steward) lost(w *word) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := w.pair.Before
	st.Ended = relay.Lost
	s.ends.add(ending{id: w.id, stats: st, note: string(w.text)})
	s.tellEnds()
}

// lead makes this usher the one who is told of everything.
func (v *visit) lead() {
	s := v.s
	s.mu.Lock()
	old := s.leader
	if old != nil && old != v { // what it was told it is about to log
		s.tellAgain(old)
		old.owes = s.ends.until(old.next)
	}
	if old != v {
		s.leader, v.next = v, s.ends.first
	}
	lost := s.ends.lost
	s.ends.lost = 0
	s.mu.Unlock()
	if old != nil && old != v {
		old.out.post(&word{kind: superseded})
	}
	if lost > 0 {
		v.out.post(&word{kind: forgotten, n: lost})
	}
	v.relist(0)
}

// relist has all sessions told.
func (v *visit) relist(n uint64) {
	s := v.s
	s.mu.Lock()
	v.list, v.all, v.asked = slices.Collect(maps.Keys(s.guests)), true, max(v.asked, n)
	s.mu.Unlock()
	v.wake()
}

func (v *visit) wake() {
	select {
	case v.woken <- struct{}{}:
	default:
	}
}

// gather is how long an end may wait for others to be told with it: each message wakes
// two processes.
const gather = 3 * time.Millisecond

// tell tells the usher of sessions and their ends, a few at a time: one that is slow is
// waited for here, and nowhere else.
func (v *visit) tell() {
	for {
		select {
		case <-v.woken:
		case <-v.over:
			return
		}
		time.Sleep(gather)
		for words := v.news(); len(words) > 0; words = v.news() {
			v.out.post(words...)
			if !v.out.drain(chunk) {
				return
			}
		}
	}
}

// news is what is to be told next: first all sessions that are there, then those that
// have ended, then that this was all: what was told in neither way is not here.
func (v *visit) news() (words []*word) {
	s := v.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(v.list) > 0 && len(words) < chunk {
		if g, ok := s.guests[v.list[0]]; ok {
			words = append(words, &word{kind: have, id: v.list[0], text: []byte(g.note)})
		}
		v.list = v.list[1:]
	}
	if len(words) == 0 && s.leader == v {
		words = v.endings()
	}
	if len(words) == 0 && v.all {
		v.list, v.all = nil, false
		words = append(words, &word{kind: listed, n: v.asked})
	}
	return words
}

// endings are some that were not told yet.
func (v *visit) endings() (words []*word) {
	some, behind := v.s.ends.after(v.next)
	first := behind - uint64(len(some))
	v.next = behind
	for i, e := range some {
		w := e.word()
		w.n = first + uint64(i) + 1
		words = append(words, w)
	}
	return words
}

// kick ends a session, here or where it has gone.
func (s *Steward) kick(w *word) {
	s.mu.Lock() // it may be about to move
	defer s.mu.Unlock()
	switch {
	case s.engine.Kick(w.id, relay.Ending(w.text)):
	case s.arrival != nil && s.arrival.id == w.id:
		s.arrival.kick = w
	case s.heir != nil:
		s.heir.kick(w)
	}
}

// release gives a session back to the usher, if it is at rest.
func (v *visit) release(id uint64) {
	s := v.s
	s.mu.Lock()
	p, _, ok := s.engine.Release(id)
	note := s.guests[id].note
	if ok {
		delete(s.guests, id)
	}
	s.mu.Unlock()
	if !ok {
		v.out.post(&word{kind: kept, id: id})
		return
	}
	v.out.post(&word{kind: released, id: id, text: []byte(note), pair: p})
}
