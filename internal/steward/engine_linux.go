package steward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// Terms are what an Engine needs.
type Terms struct {
	Socket  string       // where stewards are found
	Program string       // that is started as one: PROGRAM relay; "": there are to be none, and new sessions stay in this process
	Build   string       // of this program
	Local   relay.Engine // for what cannot leave the process, and while there is no steward
	Adopt   Adoption
	Log     *slog.Logger
	Logged  func() // waits until what was logged is where it belongs; nil: it is at once
	Early   *Call  // nil: there is none
	Taken   func() // is called when another usher leads; may be nil
}

// A Call is a connection to a steward. The one that root makes is heard by a steward that
// root has started; that of the user whom root becomes afterwards is not.
type Call struct{ nc *net.UnixConn }

// Dial calls the steward whose socket it is; nil: there is none that would listen.
func Dial(socket string) *Call {
	nc, err := dial(socket)
	if err != nil {
		return nil
	}
	return &Call{nc}
}

// Hang ends a call that nobody needs.
func (c *Call) Hang() {
	if c != nil {
		_ = c.nc.Close()
	}
}

// An Engine gives sessions to a steward. Those that only crypto/tls can go on with stay
// with the engine of the process; so do new ones while the steward is slow or away.
type Engine struct {
	Terms

	finding sync.Mutex // a steward is sought by one at a time
	hearing sync.Mutex // of a session one thing is heard at a time, from whichever steward

	mu    sync.Mutex
	seats map[uint64]seat // sessions that stewards have

	strays    map[uint64]*stray
	gathering bool // strays are being brought

	link  *link // to the steward that new ones go to; nil: there is none
	links map[*link]bool

	children map[uint64]*child
	found    int // so many stewards were, until now

	sought []*link // whose sessions are to be looked for at the next that is found
	leads  bool    // all sessions are ours
	left   bool    // they are to go on without us
	over   bool
}

var _ relay.Engine = (*Engine)(nil)

// A seat is where a session is.
type seat struct {
	done   func(relay.Stats)
	at     *link
	missed *word // is to be said where it turns up: a kick
}

// Open finds the steward, or starts one. If that cannot be done now it is tried again for as
// long as the process lives; an error is where there is none and need not be.
func Open(t Terms) (*Engine, error) {
	e := &Engine{
		Terms: t, seats: map[uint64]seat{}, strays: map[uint64]*stray{}, links: map[*link]bool{}, children: map[uint64]*child{},
	}
	err := e.find(t.Program != "")
	switch {
	case err == nil:
	case t.Program == "":
		return nil, fmt.Errorf("the relay process: %w", err)
	default:
		e.lacks(err)
		go e.again(true, err)
	}
	return e, nil
}

// answerTime is how long a steward may take to say who it is.
const answerTime = 10 * time.Second

// find goes to the steward, unless somebody else has just done so, and starts one if there
// is none and it may.
func (e *Engine) find(start bool) error {
	e.finding.Lock()
	defer e.finding.Unlock()
	e.mu.Lock()
	found := e.over || e.link != nil && !e.link.retired.Load()
	e.mu.Unlock()
	if found {
		return nil
	}
	return e.search(start)
}

// search is find whoever is there. A steward that has just nothing left to do ends while we
// come: then there is none.
func (e *Engine) search(start bool) (err error) {
	for wait := time.Millisecond; wait < time.Second; wait *= 2 {
		if err = e.attempt(start); !isOver(err) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

// attempt is one to find it.
func (e *Engine) attempt(start bool) error {
	nc, err := e.call()
	how := "relay process found"
	var own *child
	if err != nil && start && (errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT)) {
		how = "relay process started"
		if own, err = launch(e.Program, e.Socket); err == nil {
			nc, err = dial(e.Socket)
		}
	}
	var l *link
	if err == nil {
		l, err = newLink(e, nc)
	}
	if err != nil && own != nil { // nor will the next one that is started live
		return fmt.Errorf("%s relay was started, and does not come up (%s), see what it says on standard error: %v", e.Program, own.fate(), err) //nolint:errorlint // it is not over by itself
	}
	if err != nil {
		return err
	}
	e.started(own)
	if again, over := e.use(l); over || again != l {
		l.close()
		return nil
	}
	e.Log.Log(context.Background(), e.news(l), how, "pid", l.pid, "sessions", l.guests)
	go l.hear()
	return nil
}

// use has new sessions go to a steward, by the link that there is to it already, if there
// is one: by a second one it would think that another usher had come.
func (e *Engine) use(l *link) (used *link, over bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	used = e.linkTo(l)
	told := used != l // that we lead
	for !e.over {
		var words []*word
		if e.leads && !told {
			words, told = append(words, &word{kind: lead}), true
		}
		if len(e.sought) > 0 {
			words = append(words, used.seeks(e.sought))
			e.sought = nil
		}
		if len(words) == 0 {
			e.link, e.links[used] = used, true
			return used, false
		}
		e.mu.Unlock()
		used.out.post(words...) // before any session: it would be taken for that of an usher that was replaced
		e.mu.Lock()
	}
	return nil, true
}

// started notes a steward that is our child.
func (e *Engine) started(own *child) {
	if own != nil {
		e.mu.Lock()
		e.children[own.pid] = own
		e.mu.Unlock()
	}
}

// news is how much it matters to people that a steward was found: not that a process which
// was replaced follows its last sessions.
func (e *Engine) news(l *link) slog.Level {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.nth > 1 && !e.leads {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// linkTo is the link to the same steward that is there already, or the new one.
func (e *Engine) linkTo(found *link) *link {
	for l := range e.links {
		if l.pid == found.pid && !l.parts() {
			l.retired.Store(false) // who was to replace it did not live
			return l
		}
	}
	e.found++
	found.nth = e.found
	return found
}

// call goes to the steward.
func (e *Engine) call() (*net.UnixConn, error) {
	e.mu.Lock()
	early := e.Early
	e.Early = nil
	e.mu.Unlock()
	if early != nil {
		return early.nc, nil
	}
	return dial(e.Socket)
}

// Lead makes all sessions ours: Adopt is called for those that we do not know. Whoever
// had them before hears that they have moved. It returns when all are known, so that who
// comes from then on is counted with them.
func (e *Engine) Lead() {
	e.mu.Lock()
	e.leads = true
	l := e.link
	e.mu.Unlock()
	if l == nil {
		return
	}
	l.out.post(&word{kind: lead})
	select {
	case <-l.told:
	case <-l.gone:
	case <-time.After(answerTime):
		e.Log.Error("the relay process does not say which sessions it has", "pid", l.pid)
	}
}

// Leads tells whether all sessions are ours.
func (e *Engine) Leads() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leads
}

// Start implements relay.Engine. It never waits for the steward.
func (e *Engine) Start(p relay.Pair, done func(relay.Stats)) {
	free := p.Client.Free()
	free = p.Server.Free() && free
	e.mu.Lock()
	l := e.link
	leaves := free && e.Program != "" && fits(&p)
	if !leaves || l == nil || l.slow() {
		e.mu.Unlock()
		if leaves {
			e.keep(p, done)
		} else {
			e.Local.Start(p, done)
		}
		return
	}
	left := e.left
	if !left {
		e.seats[p.ID] = seat{done: done, at: l}
	}
	e.mu.Unlock()
	l.out.post(&word{kind: start, id: p.ID, text: p.Note, pair: p})
	l.feel()
	if left {
		done(relay.Stats{ID: p.ID, Ended: relay.Moved})
	}
}

// Apart implements login.Apart.
func (e *Engine) Apart() bool { return e.Program != "" }

// fits tells whether a pair can be said in one word, with sockets.
func fits(p *relay.Pair) bool {
	n := len(p.Note) + len(p.Farewell)
	for _, l := range []relay.Leg{p.Client, p.Server} {
		n += len(l.Pending) + len(l.Ahead) + 512
		if descriptorOf(l.Conn) < 0 {
			return false
		}
	}
	return n < maxWord
}

// Kick implements relay.Engine.
func (e *Engine) Kick(id uint64, why relay.Ending) bool {
	e.mu.Lock()
	at, ok := e.seats[id]
	later := !ok && e.missed(id, why)
	e.mu.Unlock()
	switch {
	case later:
		return true
	case !ok:
		return e.Local.Kick(id, why)
	}
	at.at.out.post(&word{kind: kick, id: id, text: []byte(why)})
	return true
}

// Release implements relay.Engine.
func (e *Engine) Release(id uint64) (p relay.Pair, done func(relay.Stats), ok bool) {
	e.mu.Lock()
	at, found := e.seats[id]
	e.mu.Unlock()
	if !found {
		if p, done, ok = e.Local.Release(id); ok {
			if s, is := e.unkeep(id); is {
				p.Note, done = s.note, s.done
			}
		}
		return p, done, ok
	}
	if p, ok = at.at.release(id); !ok {
		return p, nil, false
	}
	return p, at.done, true
}

// Has tells whether a session is a steward's: it needs nobody to move it.
func (e *Engine) Has(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.seats[id]
	return ok
}

// Len is how many sessions stewards have of ours.
func (e *Engine) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seats)
}

// take takes a session out that is not at its seat any more.
func (e *Engine) take(id uint64) (done func(relay.Stats), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.seats[id]
	delete(e.seats, id)
	return s.done, ok
}

// Leave has the sessions of stewards go on without this process, which is about to end.
func (e *Engine) Leave() {
	e.mu.Lock()
	e.left = true
	e.mu.Unlock()
	e.moved(nil)
}

// moved is when sessions are somebody else's: those at a link, or all.
func (e *Engine) moved(l *link) {
	e.hearing.Lock()
	defer e.hearing.Unlock()
	vacated(e.vacate(l), relay.Stats{Ended: relay.Moved})
}

// vacate takes the sessions of a link, or all.
func (e *Engine) vacate(l *link) map[uint64]seat {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := map[uint64]seat{}
	for id, s := range e.seats {
		if l == nil || s.at == l {
			left[id] = s
			delete(e.seats, id)
		}
	}
	return left
}

// vacated says of sessions that they have ended.
func vacated(seats map[uint64]seat, st relay.Stats) {
	for id, s := range seats {
		st.ID = id
		s.done(st)
	}
}

// Close leaves the stewards. Without sessions they end.
func (e *Engine) Close() {
	e.mu.Lock()
	e.over, e.link = true, nil
	links := make([]*link, 0, len(e.links))
	for l := range e.links {
		links = append(links, l)
	}
	e.mu.Unlock()
	for _, l := range links {
		told := make(chan struct{})
		go func() { l.confirm(); l.out.drain(0); close(told) }()
		select {
		case <-told:
		case <-time.After(time.Second): // what is not in the log by then the next usher is told again
		}
		l.close()
	}
}

// Outdated tells whether the steward is of another build than this program.
func (e *Engine) Outdated() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.link != nil && e.link.build != e.Build
}

// PID is that of the steward that new sessions go to; 0: there is none.
func (e *Engine) PID() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.link == nil {
		return 0
	}
	return e.link.pid
}
