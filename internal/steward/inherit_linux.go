package steward

import (
	"fmt"
	"net"
	"os"

	"usher/internal/relay"
)

// Succeed returns a steward that takes over from another one, whose end of a socket this
// is, and begins to.
func Succeed(nc *net.UnixConn, build string) (*Steward, error) {
	in := newInbox(nc)
	out, err := newOutbox(nc, func(*word) {})
	if err != nil {
		return nil, err
	}
	words, err := in.next()
	if err != nil {
		return nil, fmt.Errorf("the steward before this one: %w", err)
	}
	first := &words[0]
	if first.kind != heritage || first.n < 1 || first.n > format {
		return nil, fmt.Errorf("the steward before this one speaks in format %d, this version takes formats up to %d", first.n, format)
	}
	f := os.NewFile(uintptr(first.fds[0]), "relay socket")
	ln, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	s, err := New(ln.(*net.UnixListener), build)
	if err != nil {
		return nil, err
	}
	s.before = out
	out.post(&word{kind: passed}) // we are well: sessions may come
	go s.inherit(in, out, words[1:])
	return s, nil
}

// inherit takes sessions from the steward before this one until it is gone.
func (s *Steward) inherit(in *inbox, out *outbox, words []word) {
	for {
		for i := range words {
			switch w := &words[i]; w.kind {
			case moving:
				s.adopt(w, out)
			case kick:
				s.kick(w)
			case ended:
				s.mu.Lock()
				s.ends.add(ending{id: w.id, stats: w.stats, note: string(w.text)})
				s.tellEnds()
				s.mu.Unlock()
			default:
				w.drop()
			}
		}
		var err error
		if words, err = in.next(); err != nil {
			out.close()
			s.alone()
			return
		}
	}
}

// An arrival is a session that has come from the steward before this one, and is not
// relayed here yet.
type arrival struct {
	id   uint64
	kick *word // for it
}

// adopt takes a session over. It is a guest before the other steward, to whom it is one
// until it hears of that, may be gone. The answer is on its way before the first byte moves,
// see hearHeir; if there is nobody left to hear it the session is ours alone. If it cannot be
// said, to somebody who lives, the session is not ours.
func (s *Steward) adopt(w *word, out *outbox) {
	if w.fds[0] < 0 { // there was no descriptor left for it
		out.post(&word{kind: kept, id: w.id})
		return
	}
	s.mu.Lock()
	a := &arrival{id: w.id}
	s.arrival, s.guests[w.id] = a, guest{note: string(w.text)}
	s.mu.Unlock()
	out.post(&word{kind: adopted, id: w.id})
	mine := out.drain(0) || out.hungUp()
	if mine {
		s.take(w.arrived(), nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrival = nil
	switch {
	case !mine:
		delete(s.guests, w.id)
		w.drop()
		w.pair.Wipe()
	case a.kick != nil:
		s.engine.Kick(w.id, relay.Ending(a.kick.text))
	}
}

// alone is when the steward before this one is gone.
func (s *Steward) alone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = nil
	switch {
	case s.heir != nil || len(s.guests) > 0 || len(s.visits) > 0:
		s.leave()
	case s.ends.none():
		s.waits.Reset(waitFirst) // an usher is on its way
	default:
		s.waits.Reset(waitTold)
	}
}
