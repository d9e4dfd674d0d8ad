package steward

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// A Steward holds sessions for ushers that come to its socket. One of them leads: it is
// told of all sessions and of their ends. Others are old ones that were replaced, and
// bring what they still let in.
type Steward struct {
	Build string

	engine *relay.Epoll
	ln     *net.UnixListener
	done   func(relay.Stats) // ended, once for all sessions

	retiring sync.Mutex // one usher at a time has this steward replaced

	mu      sync.Mutex
	guests  map[uint64]guest
	visits  map[*visit]bool
	leader  *visit // nil: nobody
	ends    endings
	heir    *heir    // nil: we have not been replaced
	arrival *arrival // the session that is arriving
	before  *outbox  // to the steward that we replace, as long as it has sessions; nil: there is none
	coming  sync.WaitGroup
	empty   chan struct{} // closed when nobody is here, and nobody can come any more
	over    bool
	waits   *time.Timer // for an usher, while there is none
}

// A guest is a session.
type guest struct {
	note string
	of   *visit // who has brought it
}

// How long a steward waits for an usher where there is none.
const (
	waitFirst = 20 * time.Second // for the first
	waitTold  = time.Hour        // to be told how sessions have ended, when none are left
)

// New returns a steward without guests, for a socket that listens.
func New(ln *net.UnixListener, build string) (*Steward, error) {
	e, err := relay.NewEpoll()
	if err != nil {
		return nil, err
	}
	s := &Steward{Build: build, engine: e, ln: ln, guests: map[uint64]guest{}, visits: map[*visit]bool{}, empty: make(chan struct{})}
	s.done = s.ended
	s.waits = time.AfterFunc(waitFirst, s.giveUp)
	return s, nil
}

// giveUp ends a steward without guests to which nobody has come.
func (s *Steward) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over && len(s.guests) == 0 && len(s.visits) == 0 && s.heir == nil && s.before == nil {
		s.finish()
	}
}

// Run serves until nobody is here, and nobody can come any more, or until stop: then all
// sessions are told goodbye.
func (s *Steward) Run(stop <-chan struct{}) {
	s.accept()
	select {
	case <-s.empty:
	case <-stop:
		s.dismiss()
	}
	s.mu.Lock()
	s.over = true // nobody is taken in again, also if an heir dies just now
	h := s.heir
	s.mu.Unlock()
	_ = s.ln.Close()
	s.coming.Wait()
	if h != nil {
		h.out.drain(0)
	}
	_ = s.engine.Close()
}

// goodbye is how long sessions may take to end once they are told to.
const goodbye = 5 * time.Second

// dismiss ends all sessions, and waits until that is told.
func (s *Steward) dismiss() {
	s.mu.Lock()
	for id := range s.guests {
		s.engine.Kick(id, relay.Shutdown)
	}
	s.mu.Unlock()
	for end := time.Now().Add(goodbye); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		over := len(s.guests) == 0 && (s.leader == nil || s.ends.none())
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// accept takes ushers in, in the background.
func (s *Steward) accept() {
	_ = s.ln.SetDeadline(time.Time{})
	s.coming.Go(func() {
		for {
			nc, err := s.ln.AcceptUnix()
			switch {
			case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
				return
			case err != nil:
				time.Sleep(10 * time.Millisecond) // no descriptors left: some may be soon
			case !ours(nc):
				go func() { _ = nc.Close() }() // it may have sent descriptors that take long to close
			default:
				s.enter(nc)
			}
		}
	})
}

// ours tells whether the process at the other end is of the same user as we, or root's.
func ours(nc *net.UnixConn) bool {
	raw, err := nc.SyscallConn()
	if err != nil {
		return false
	}
	var who *unix.Ucred
	_ = raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && who != nil && (who.Uid == 0 || int(who.Uid) == os.Geteuid())
}

// take takes a session over. It is called by who has brought it.
func (s *Steward) take(p relay.Pair, from *visit) {
	id, note := p.ID, string(p.Note)
	p.Note = nil
	s.mu.Lock()
	defer s.mu.Unlock() // until it is told, so that nobody hears of its end first, and who hears of it can kick it
	s.guests[id] = guest{note, from}
	s.engine.Start(p, s.done)
	if from == s.leader {
		return
	}
	if s.leader != nil {
		s.leader.out.post(&word{kind: have, id: id, text: []byte(note)})
	}
	if from != nil {
		from.out.post(&word{kind: gone, id: id})
	}
}

// ended is when a session has.
func (s *Steward) ended(st relay.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.guests[st.ID]
	if !ok {
		return
	}
	delete(s.guests, st.ID)
	s.ends.add(ending{id: st.ID, stats: st, note: g.note})
	s.tellEnds()
	s.leave()
}

// tellEnds has somebody told who can hear it. It is called with mu held, as leave is.
func (s *Steward) tellEnds() {
	switch {
	case s.leader != nil:
		s.leader.wake()
	case s.heir != nil && !s.heir.mute:
		for _, e := range s.ends.forget() {
			s.heir.out.post(e.word())
		}
	}
}

// leave ends the steward when there is nothing left to do for it.
func (s *Steward) leave() {
	switch {
	case s.over || len(s.guests) > 0 || s.before != nil: // what is left there comes by here
	case s.heir != nil && s.heir.quiet() && (s.ends.none() || s.heir.mute && len(s.visits) == 0):
		for v := range s.visits {
			v.out.post(&word{kind: leaving})
		}
		if len(s.visits) == 0 {
			s.finish()
		}
	case s.heir != nil || len(s.visits) > 0:
	case s.ends.none():
		s.finish()
	default:
		s.waits.Reset(waitTold)
	}
}

func (s *Steward) finish() {
	s.over = true
	s.waits.Stop()
	close(s.empty)
}
