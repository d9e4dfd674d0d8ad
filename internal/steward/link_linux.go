package steward

import (
	"errors"
	"fmt"
	"math"
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

	mu      sync.Mutex
	asked   map[uint64]chan word // for release
	closed  bool
	lists   uint64  // were asked for
	after   []*link // whose sessions are sought here, by the list of that number
	leaving bool
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
		if done, ok := e.take(w.id); ok {
			done(relay.Stats{ID: w.id, Ended: relay.Moved})
		}
	case superseded:
		l.superseded()
	case forgotten:
		e.Log.Error("sessions have ended of which nobody was told: too many did while no usher ran", "sessions", w.n)
	case listed:
		e.seek(l, l.sought(w.n))
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
// another, or a new one.
func (l *link) has(w *word) {
	e := l.e
	e.hearing.Lock()
	defer e.hearing.Unlock()
	e.mu.Lock()
	if e.left {
		e.mu.Unlock()
		return
	}
	if s, ok := e.seats[w.id]; ok {
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
	if !leads || e.Adopt == nil {
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

// release asks for a session.
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
	w, ok := <-answer
	if !ok || w.kind == kept {
		return p, false
	}
	return w.arrived(), true
}

// answer passes an answer on. From here on nobody has the session.
func (l *link) answer(w *word) {
	l.mu.Lock()
	c := l.asked[w.id]
	delete(l.asked, w.id)
	l.mu.Unlock()
	if c == nil {
		w.drop()
		return
	}
	if w.kind == released {
		_, _ = l.e.take(w.id)
	}
	c <- *w
}

// errBusy is when a steward cannot be replaced, mostly because it has been already.
var errBusy = errors.New("it does not let itself be replaced now")

// expects forgets an answer to retire that came too late.
func (l *link) expects() {
	select {
	case <-l.yielded:
	default:
	}
}

// retires waits until the steward has left the socket to its successor.
func (l *link) retires() error {
	select {
	case ok := <-l.yielded:
		if !ok {
			return errBusy
		}
		return nil
	case <-l.gone:
		return errors.New("it has ended")
	case <-time.After(answerTime):
		return errors.New("it does not answer")
	}
}

// part leaves a steward that has nothing left: who comes is its successor's.
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
		l.confirm()
		l.out.drain(0)
		l.close()
	}()
}

// parts tells whether the link is about to end.
func (l *link) parts() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving || l.closed
}

// goOn finds the successor of a steward, to which new sessions go until then: it passes
// them on.
func (e *Engine) goOn(from *link) {
	err := e.find(false)
	e.mu.Lock()
	stays := e.link == from
	if stays {
		e.link = nil
	}
	e.mu.Unlock()
	if stays {
		e.Log.Error("the relay process was replaced, and the new one cannot be found", "err", err)
		go e.again(e.Program != "")
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

// parted is when a link has ended. What its steward had is at another by now, or lost.
func (e *Engine) parted(l *link) {
	e.mu.Lock()
	delete(e.links, l)
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
	if l.retired.Load() {
		whose = append(whose, l)
	} else {
		e.lost(l)
	}
	e.seek(l, whose)
	if missing {
		e.again(leads && e.Program != "")
	}
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
	left := e.vacate(l)
	if len(left) > 0 || !l.retired.Load() {
		e.Log.Error("the relay process has ended: its sessions are lost, new ones go to another", "pid", l.pid, "sessions", len(left))
	}
	e.vacated(left, relay.Stats{Ended: relay.Lost, Last: time.Now()})
}

// Times between attempts to find a steward.
const (
	againFirst = 10 * time.Millisecond
	againMost  = 10 * time.Second
)

// again finds or starts another steward. Until then new sessions stay in this process.
func (e *Engine) again(start bool) {
	var said error
	for wait := againFirst; ; wait = min(2*wait, againMost) {
		err := e.find(start)
		e.mu.Lock()
		over := e.over || e.link != nil
		e.mu.Unlock()
		if err == nil || over {
			return
		}
		if said == nil || said.Error() != err.Error() {
			e.Log.Error("there is no relay process: new sessions stay in this one until there is", "err", err)
			said = err
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		time.Sleep(wait)
	}
}
