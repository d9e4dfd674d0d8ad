package steward

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/relay"
)

// A link is the way to one steward.
type link struct {
	e       *Engine
	out     *outbox
	in      *inbox
	pid     uint64
	build   string
	guests  uint64        // that it had when we came
	nth     int           // of those that were found: sessions move to later ones
	last    atomic.Uint64 // ending that was heard, and the steward was not told so; 0: none
	retired atomic.Bool   // another takes over from it
	asks    atomic.Bool   // it was asked to have that done, and has not refused
	pulse   pulse

	mu      sync.Mutex
	asked   map[uint64]chan word // for release
	closed  bool
	lists   uint64  // were asked for
	after   []*link // whose sessions are sought here, by the list of that number
	leaving bool
	parting uint64        // the list that tells what is left of a steward that is about to leave; 0: none
	stays   bool          // … something is
	told    chan struct{} // all sessions were
	gone    chan struct{} // closed at the end
	yielded chan bool     // the answer to retire
}

// newLink begins with what the steward says of itself.
func newLink(e *Engine, nc *net.UnixConn) (*link, error) {
	l := &link{e: e, in: newInbox(nc), asked: map[uint64]chan word{}, yielded: make(chan bool, 1), told: make(chan struct{}, 1), gone: make(chan struct{})}
	_ = nc.SetReadDeadline(time.Now().Add(answerTime))
	words, err := l.in.next()
	if err == nil && (words[0].kind != welcome || words[0].n < 1 || words[0].n > format) {
		err = fmt.Errorf("it speaks in format %d, this version in formats up to %d: end its sessions, or use the version of usher that has started it", words[0].n, format)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("it does not say who it is: %w", err)
	}
	_ = nc.SetReadDeadline(time.Time{})
	l.pid, l.build, l.guests = words[0].id, string(words[0].text), words[0].stats.FromClient
	if l.out, err = newOutbox(nc, l.back); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return l, nil
}

// back takes what could not be sent: new sessions go to another steward, or stay here.
func (l *link) back(w *word) {
	switch w.kind {
	case start:
		l.startElsewhere(w)
	case kick:
		l.e.kickLater(l, w)
	default:
		w.drop()
	}
}

func (l *link) startElsewhere(w *word) {
	done, ok := l.e.take(w.id)
	if !ok { // it was said to have moved, but never did
		if l.e.Adopt == nil {
			w.drop()
			return
		}
		done = l.e.Adopt(w.id, w.text)
	}
	w.pair.Note = w.text
	go l.e.Start(w.pair, done)
}

// hear does what the steward tells, until it is gone.
func (l *link) hear() {
	for {
		words, err := l.in.next()
		if err != nil {
			break
		}
		for i := range words {
			l.obey(&words[i])
		}
	}
	l.close()
	close(l.gone)
	l.e.parted(l)
}

// together is how long an ending waits for others, so that the steward hears of all of them at
// once that they are in the log. Who is killed before has it tell them again.
const together = 50 * time.Millisecond

// ends has the steward forget the endings up to a number, when they are in the log.
func (l *link) ends(n uint64) {
	if l.last.Swap(n) == 0 {
		time.AfterFunc(together, l.confirm)
	}
}

// confirm says that what was heard until now is in the log: not before it is there.
func (l *link) confirm() {
	n := l.last.Load()
	if n == 0 {
		return
	}
	if l.e.Logged != nil {
		l.e.Logged()
	}
	l.out.post(&word{kind: heard, n: n})
	if !l.last.CompareAndSwap(n, 0) { // others have ended meanwhile
		time.AfterFunc(together, l.confirm)
	}
}

func (l *link) obey(w *word) {
	e := l.e
	switch w.kind {
	case have:
		l.has(w)
	case ended:
		l.ended(w)
	case gone:
		e.gone(w.id)
	case superseded:
		l.superseded()
	case forgotten:
		e.Log.Error("sessions have ended of which nobody was told: too many did while no usher ran", "sessions", w.n)
	case listed:
		e.seek(l, l.sought(w.n))
		l.toldLeft(w.n)
		select {
		case l.told <- struct{}{}:
		default:
		}
	case released, kept:
		l.answer(w)
	case retiring:
		if w.n == 1 { // however late it says so
			l.retired.Store(true)
		}
		l.asks.Store(false)
		select {
		case l.yielded <- w.n == 1:
		default:
		}
	case leaving:
		l.part()
	default:
		w.drop()
	}
}

// ended is when the steward says that a session has.
func (l *link) ended(w *word) {
	e := l.e
	e.hearing.Lock()
	defer e.hearing.Unlock()
	done, ok := e.take(w.id)
	switch {
	case ok:
	case e.leaves():
		return // it is for who comes after us to log
	case e.Adopt != nil:
		done = e.Adopt(w.id, w.text)
	}
	if done != nil {
		w.stats.ID = w.id
		done(w.stats)
	}
	l.ends(w.n)
}

// gone is when another usher has a session.
func (e *Engine) gone(id uint64) {
	e.hearing.Lock()
	defer e.hearing.Unlock()
	if done, ok := e.take(id); ok {
		done(relay.Stats{ID: id, Ended: relay.Moved})
	}
}

// superseded is when another usher leads at the steward: all is its now, but for what
// others have than the one that we went on to.
func (l *link) superseded() {
	e := l.e
	e.mu.Lock()
	all := e.link == l
	e.leads = e.leads && !all
	e.mu.Unlock()
	if all {
		e.moved(nil)
		if e.Taken != nil {
			go e.Taken()
		}
	} else {
		e.moved(l)
	}
}

func (e *Engine) leaves() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left
}

// has is when the steward has a session: one that we know, which has come to it from
// another, or a new one. What one that was replaced says of it may be old: it has moved on,
// and may have ended at the next, which tells both.
func (l *link) has(w *word) {
	e := l.e
	l.mu.Lock()
	l.stays = true
	l.mu.Unlock()
	e.hearing.Lock()
	defer e.hearing.Unlock()
	e.mu.Lock()
	if e.left {
		e.mu.Unlock()
		return
	}
	if s, ok := e.seats[w.id]; ok {
		if s.at.nth > l.nth {
			e.mu.Unlock()
			return
		}
		missed := s.missed
		e.seats[w.id] = seat{done: s.done, at: l}
		e.mu.Unlock()
		if missed != nil {
			l.out.post(missed)
		}
		return
	}
	leads := e.leads
	e.mu.Unlock()
	if !leads || e.Adopt == nil || l.retired.Load() {
		return
	}
	done := e.Adopt(w.id, w.text)
	e.mu.Lock()
	e.seats[w.id] = seat{done: done, at: l}
	e.mu.Unlock()
}

// kickLater is when a steward was gone before it heard whom it should kick: who has the
// session by now says so soon, or has done so.
func (e *Engine) kickLater(from *link, w *word) {
	e.mu.Lock()
	s, ok := e.seats[w.id]
	if ok && s.at == from {
		s.missed = w
		e.seats[w.id] = s
		ok = false
	}
	e.mu.Unlock()
	if ok {
		s.at.out.post(w)
	}
}

// release asks for a session. A steward that does not answer keeps it for now, see answer.
func (l *link) release(id uint64) (p relay.Pair, ok bool) {
	answer := make(chan word, 1)
	l.mu.Lock()
	if l.closed || l.asked[id] != nil {
		l.mu.Unlock()
		return p, false
	}
	l.asked[id] = answer
	l.mu.Unlock()
	l.out.post(&word{kind: release, id: id})
	late := time.AfterFunc(answerTime, func() { l.answer(&word{kind: kept, id: id}) })
	defer late.Stop()
	w, ok := <-answer
	if !ok || w.kind == kept {
		return p, false
	}
	return w.arrived(), true
}

// answer passes an answer on. From here on nobody has the session: one for which nobody
// waits any more is begun again.
func (l *link) answer(w *word) {
	if w.id == nobody {
		l.felt()
		return
	}
	l.mu.Lock()
	c := l.asked[w.id]
	delete(l.asked, w.id)
	l.mu.Unlock()
	if w.kind == released {
		done, ok := l.e.take(w.id)
		switch {
		case c != nil:
		case ok:
			l.e.Start(w.arrived(), done)
		default:
			w.drop()
		}
	}
	if c != nil {
		c <- *w
	}
}

// close ends the link.
func (l *link) close() {
	l.out.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for id, c := range l.asked {
		close(c)
		delete(l.asked, id)
	}
}

// Times between attempts to find a steward.
const (
	againFirst = 10 * time.Millisecond
	againMost  = 10 * time.Second
)

// again finds or starts another steward. Until then new sessions stay in this process.
func (e *Engine) again(start bool, said error) {
	for wait := againFirst; ; wait = min(2*wait, againMost) {
		err := e.find(start)
		e.mu.Lock()
		over := e.over || e.link != nil
		e.mu.Unlock()
		if err == nil || over {
			return
		}
		if start && (said == nil || wait == againMost && said.Error() != err.Error()) { // else nothing new comes to this process
			e.lacks(err)
			said = err
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		time.Sleep(wait)
	}
}

// lacks says that there is no steward.
func (e *Engine) lacks(err error) {
	e.Log.Error("there is no relay process: new sessions stay in this one until there is", "err", err)
}
