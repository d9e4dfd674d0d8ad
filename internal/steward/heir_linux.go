package steward

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// An heir is the steward that replaces this one.
type heir struct {
	out *outbox
	in  *inbox

	speaks chan struct{} // closed when it has said something: it does not hang

	// Under the steward's mu:
	moving map[uint64]mover // were sent, and not answered
	missed map[uint64]*word // are to be kicked there when they are answered
	passed bool             // it has been replaced itself
	mute   bool             // nobody knows what it has: nothing is sent any more
}

// A mover is a session on its way. Until the heir answers it may have to come back.
type mover struct {
	pair relay.Pair
	done func(relay.Stats)
}

const (
	mostMoving = 64                    // at once
	againSoon  = 20 * time.Millisecond // between attempts to move what is not at rest
	againLate  = time.Second           // … at most
)

func (h *heir) quiet() bool { return len(h.moving) == 0 }

func (h *heir) kick(w *word) {
	if _, ok := h.moving[w.id]; ok {
		h.missed[w.id] = w
		return
	}
	h.out.post(&word{kind: kick, id: w.id, text: w.text})
}

// retire has a successor take over: first the socket that ushers come to, then sessions
// as they come to rest. If it dies this steward goes on.
func (s *Steward) retire(fd int) bool {
	nc, err := connOf(fd, "successor")
	s.retiring.Lock()
	defer s.retiring.Unlock()
	s.mu.Lock()
	busy := s.heir != nil || s.over
	s.mu.Unlock()
	if err != nil || busy {
		if nc != nil {
			_ = nc.Close()
		}
		return false
	}
	own, err := s.socket()
	if err != nil {
		_ = nc.Close()
		return false
	}
	_ = s.ln.SetDeadline(time.Unix(1, 0)) // who comes from now on is the successor's
	s.coming.Wait()
	h := &heir{in: newInbox(nc), speaks: make(chan struct{}), moving: map[uint64]mover{}, missed: map[uint64]*word{}}
	if h.out, err = newOutbox(nc, func(w *word) { go s.unheard(w) }); err != nil {
		_ = nc.Close()
		_ = unix.Close(own)
		s.accept()
		return false
	}
	s.mu.Lock()
	s.heir = h
	s.pass(1)
	s.mu.Unlock()
	h.out.post(&word{kind: heritage, n: format, fds: []int{own}})
	over := make(chan struct{})
	go s.hearHeir(h, over)
	go s.moveAll(h, over)
	return true
}

// pass tells the steward before this one whether ushers come to another than this one.
func (s *Steward) pass(n uint64) {
	if s.before != nil {
		s.before.post(&word{kind: passed, n: n})
	}
}

// unheard takes back what the successor did not live to hear: how a session has ended.
func (s *Steward) unheard(w *word) {
	if w.kind != ended {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends.add(ending{id: w.id, stats: w.stats, note: string(w.text)})
	if s.heir == nil { // else it is about to be gone
		s.tellEnds()
	}
}

// socket is another descriptor of the socket that ushers come to. By way of os.File it
// would become a blocking one, for all who have it.
func (s *Steward) socket() (own int, err error) {
	raw, err := s.ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(fd uintptr) { own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return own, errors.Join(ctlErr, err)
}

// connOf makes a connection of a descriptor, which it owns.
func connOf(fd int, name string) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", fd)
	}
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("the %s is a %T", name, nc)
	}
	return uc, nil
}

// moveAll moves what is at rest, again and again, until nothing is left.
func (s *Steward) moveAll(h *heir, over <-chan struct{}) {
	select { // or sessions would hang with it
	case <-h.speaks:
	case <-over:
		return
	}
	for wait := againSoon; ; wait = min(2*wait, againLate) {
		s.mu.Lock()
		ids := make([]uint64, 0, len(s.guests))
		for id := range s.guests {
			if _, ok := h.moving[id]; !ok {
				ids = append(ids, id)
			}
		}
		s.tellEnds()
		s.leave()
		s.mu.Unlock()
		for _, id := range ids {
			if !s.move(h, id) {
				return
			}
		}
		select {
		case <-over:
			return
		case <-s.empty:
			return
		case <-time.After(wait):
		}
	}
}

// move sends one session, if it is at rest. It returns false when the heir is gone.
func (s *Steward) move(h *heir, id uint64) bool {
	for {
		s.mu.Lock()
		n := len(h.moving)
		s.mu.Unlock()
		if n < mostMoving {
			break
		}
		if !h.out.drain(0) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	s.mu.Lock() // a kick comes before it or behind it
	defer s.mu.Unlock()
	if s.heir != h || h.mute {
		return false
	}
	p, done, ok := s.engine.Release(id)
	if !ok {
		return true
	}
	h.moving[id] = mover{p, done}
	h.out.post(&word{kind: moving, id: id, text: []byte(s.guests[id].note), pair: p})
	return true
}

// hearHeir hears which sessions have arrived. When the heir dies, those that have not go on
// here, and so does the socket that ushers come to.
//
// Two processes must never have one session: they would seal different records with the
// same key and number, which gives both away. So the heir answers before it begins, and
// this one begins again only what was not answered when all that the heir has said is read.
func (s *Steward) hearHeir(h *heir, over chan struct{}) {
	defer close(over)
	var err error
	for first := true; err == nil; first = false {
		var words []word
		if words, err = h.in.next(); first && err == nil {
			close(h.speaks)
		}
		for _, w := range words {
			switch w.kind {
			case adopted:
				s.arrived(h, w.id)
			case kept:
				s.mu.Lock()
				s.stays(h, w.id)
				s.mu.Unlock()
			case passed:
				s.mu.Lock()
				h.passed = w.n == 1
				s.mu.Unlock()
			default:
				w.drop()
			}
		}
	}
	h.out.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch all := isOver(err); {
	case s.over:
	case all:
		s.goOn(h)
	default:
		s.giveUpOn(h)
	}
}

// goOn goes on with what the heir has not taken. It is called with mu held, as stays and
// giveUpOn are.
func (s *Steward) goOn(h *heir) {
	for id := range h.moving {
		s.stays(h, id)
	}
	s.heir = nil
	s.pass(0)
	if !h.passed { // else who comes to the socket is another's, who lives
		s.accept()
	}
	s.tellEnds()
	s.leave()
}

// stays goes on with a session that could not move.
func (s *Steward) stays(h *heir, id uint64) {
	m, ok := h.moving[id]
	if !ok {
		return
	}
	delete(h.moving, id)
	s.engine.Start(m.pair, m.done)
	if w := h.missed[id]; w != nil {
		delete(h.missed, id)
		s.engine.Kick(id, relay.Ending(w.text))
	}
}

// giveUpOn ends sessions that the heir may have, as it cannot be understood. It lives: who
// comes is its own.
func (s *Steward) giveUpOn(h *heir) {
	left := h.moving
	h.moving, h.mute = map[uint64]mover{}, true
	for id, m := range left {
		_, _ = m.pair.Client.Conn.Close(), m.pair.Server.Conn.Close()
		m.pair.Wipe()
		st := m.pair.Before
		st.ID, st.Ended = id, relay.Lost
		go m.done(st) // it needs mu
	}
	s.leave()
}

// arrived is when the heir has a session.
func (s *Steward) arrived(h *heir, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := h.moving[id]
	if !ok {
		return
	}
	delete(h.moving, id)
	delete(s.guests, id)
	_, _ = m.pair.Client.Conn.Close(), m.pair.Server.Conn.Close()
	m.pair.Wipe()
	if w := h.missed[id]; w != nil {
		delete(h.missed, id)
		h.kick(w)
	}
	s.leave()
}
