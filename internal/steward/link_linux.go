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
	last    atomic.Uint64 // ending that was heard, and the steward was not told so; 0: none
	retired atomic.Bool   // another takes over from it

	mu      sync.Mutex
	asked   map[uint64]chan word // for release
	closed  bool
	lists   uint64  // were asked for
	after   []*link // whose sessions are lost that are not here when all are listed
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
	if w.kind != start {
		w.drop()
		return
	}
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
			if words[i].kind == ended {
				l.ends(words[i].n)
			}
		}
	}
	l.close()
	close(l.gone)
	l.e.parted(l)
}

// logged is after how long the line of a session that has ended is sure to be written: the
// log waits in a queue. Who is killed before has the steward tell it again.
const logged = 50 * time.Millisecond

// ends has the steward forget the endings up to a number, in a while.
func (l *link) ends(n uint64) {
	if l.last.Swap(n) == 0 {
		time.AfterFunc(logged, func() { l.out.post(&word{kind: heard, n: l.last.Swap(0)}) })
	}
}

func (l *link) obey(w *word) {
	e := l.e
	switch w.kind {
	case have:
		l.has(w)
	case ended:
		done, ok := e.take(w.id)
		if !ok && e.Adopt != nil && !e.leaves() {
			done = e.Adopt(w.id, w.text)
		}
		if done != nil {
			w.stats.ID = w.id
			done(w.stats)
		}
	case gone:
		if done, ok := e.take(w.id); ok {
			done(relay.Stats{ID: w.id, Ended: relay.Moved})
		}
	case superseded:
		e.mu.Lock()
		e.leads = false
		e.mu.Unlock()
		e.moved(nil)
	case forgotten:
		e.Log.Error("sessions have ended of which nobody was told: too many did while no usher ran", "sessions", w.n)
	case listed:
		l.lose(w.n)
		select {
		case l.told <- struct{}{}:
		default:
		}
	case released, kept:
		l.answer(w)
	case retiring:
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

func (e *Engine) leaves() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left
}

// has is when the steward has a session: one that we know, which has come to it from
// another, or a new one.
func (l *link) has(w *word) {
	e := l.e
	e.mu.Lock()
	if e.left {
		e.mu.Unlock()
		return
	}
	if s, ok := e.seats[w.id]; ok {
		e.seats[w.id] = seat{s.done, l}
		e.mu.Unlock()
		return
	}
	leads := e.leads
	e.mu.Unlock()
	if !leads || e.Adopt == nil {
		return
	}
	done := e.Adopt(w.id, w.text)
	e.mu.Lock()
	e.seats[w.id] = seat{done, l}
	e.mu.Unlock()
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

// retires waits until the steward has left the socket to its successor.
func (l *link) retires() bool {
	select {
	case ok := <-l.yielded:
		return ok
	case <-time.After(answerTime):
		return false
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
	e := l.e
	e.mu.Lock()
	find := e.link == l && !e.over
	if find {
		e.link = nil
	}
	e.mu.Unlock()
	go func() { // hear goes on meanwhile
		if find {
			if err := e.find(false); err != nil {
				e.Log.Error("the relay process was replaced, and the new one cannot be found", "err", err)
				go e.again(e.Program != "")
			}
		}
		l.out.drain(0)
		l.close()
	}()
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
	heir, leads := e.link, e.leads
	e.mu.Unlock()
	if heir != nil && l.retired.Load() {
		heir.mu.Lock()
		heir.after = append(heir.after, l)
		heir.lists++
		n := heir.lists
		heir.mu.Unlock()
		heir.out.post(&word{kind: list, n: n})
		return
	}
	e.lost(l)
	if missing {
		e.again(leads && e.Program != "")
	}
}

// lose is when all sessions of a steward were told, for the list of that number: what its
// predecessors had and it has not is lost. Lists that were begun before they had ended say
// nothing of that.
func (l *link) lose(n uint64) {
	l.mu.Lock()
	if n < l.lists {
		l.mu.Unlock()
		return
	}
	after := l.after
	l.after = nil
	l.mu.Unlock()
	for _, old := range after {
		l.e.lost(old)
	}
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
