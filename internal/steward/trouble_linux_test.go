package steward

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// usherOf is an usher in this process, that has come to a steward.
func usherOf(t *testing.T, s *Steward, adopt Adoption) *Engine {
	t.Helper()
	own, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(Terms{Socket: s.ln.Addr().String(), Program: "/nonexistent", Local: own, Adopt: adopt, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); _ = own.Close() })
	return e
}

// linked is the link that new sessions go to.
func (e *Engine) linked() *link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.link
}

// A message that the kernel does not take, as it is longer than the socket's room, is not
// tried for ever: the session goes on here, until there is another link.
func TestAWordThatCannotBeSentHoldsNobodyUp(t *testing.T) {
	s := house(t)
	e := usherOf(t, s, nil)
	e.Lead()
	first := e.linked()
	if err := unix.SetsockoptInt(descriptorOf(first.out.nc), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil { // as little as can be
		t.Fatal(err)
	}
	near, client := line(t)
	back, server := line(t)
	e.Start(relay.Pair{ID: 1, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}, Note: make([]byte, 16<<10)}, func(relay.Stats) {})
	heirloom{client, server}.hears(t)
	soon(t, "it is brought to the steward by another link", func() bool { return e.Has(1) && e.linked() != first })
	heirloom{client, server}.hears(t)
}

// hears holds that a plain client hears its server.
func (h heirloom) hears(t *testing.T) {
	t.Helper()
	if _, err := h.server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// The one before has a session until it has heard the answer. An answer that the kernel does
// not take is none, while that one lives.
func TestASessionOfWhichNobodyIsToldThatItHasArrivedStaysWhereItWas(t *testing.T) {
	s := house(t)
	a, b := ends(t)
	before := connFor(t, a)
	out, err := newOutbox(connFor(t, b), func(*word) {})
	if err != nil {
		t.Fatal(err)
	}
	out.sent(0, unix.EPERM)
	near, client := line(t)
	back, server := line(t)
	w := &word{kind: moving, id: 1, fds: []int{descriptorOf(near), descriptorOf(back)}}
	for i := range w.fds { // as they come out of a message
		if w.fds[i], err = unix.FcntlInt(uintptr(w.fds[i]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.adopt(w, out)
	if s.engine.Kick(1, relay.Kicked) {
		t.Error("it is here, and there")
	}
	_ = before.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := newInbox(before).next(); !isOver(err) {
		t.Errorf("the one before does not hear that this one has given up: %v", err)
	}
	_ = client.SetReadDeadline(time.Now().Add(time.Minute))
	_, _ = near.Close(), back.Close() // those of the one before: there are no others
	(heirloom{client, server}).closed(t)
}

// What an heir sends by mistake is not kept open.
func TestASessionFromAnHeirIsNotKept(t *testing.T) {
	s := house(t)
	h := retired(t, s)
	near, client := line(t)
	back, _ := line(t)
	h.out.post(&word{kind: moving, id: 1, pair: relay.Pair{Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}}})
	h.out.drain(0)
	_, _ = near.Close(), back.Close()
	heirloom{client: client}.closed(t)
}

// A number that was never told takes nothing down.
func TestEndingsThatWereNeverToldAreHeard(t *testing.T) {
	for _, n := range []uint64{2, math.MaxInt64, math.MaxUint64} {
		var e endings
		e.add(ending{id: 1})
		e.add(ending{id: 2})
		e.heard(1)
		e.heard(n)
		if !e.none() {
			t.Errorf("after %d there are %v", n, e.list)
		}
	}
}

// Two ushers may ask at once that a steward be replaced: it has one heir.
func TestAStewardHasOneHeir(t *testing.T) {
	s := house(t)
	const many = 8
	done := make(chan bool, many)
	for range many {
		a, b := ends(t)
		connFor(t, b)
		go func() { done <- s.retire(a) }()
	}
	heirs := 0
	for range many {
		if <-done {
			heirs++
		}
	}
	if heirs != 1 {
		t.Errorf("there are %d heirs", heirs)
	}
}

// A steward that hung may give a session back when nobody waits for it any more.
func TestASessionThatIsReleasedTooLateGoesOn(t *testing.T) {
	s := house(t)
	e := usherOf(t, s, nil)
	e.Lead()
	near, client := line(t)
	back, server := line(t)
	e.Start(relay.Pair{ID: 1, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}}, func(relay.Stats) {})
	heirloom{client, server}.hears(t)
	e.linked().out.post(&word{kind: release, id: 1})
	if _, ok := e.linked().release(2); ok { // whose answer comes behind the other
		t.Error("a session that is not there is released")
	}
	heirloom{client, server}.hears(t)
	if !e.Has(1) {
		t.Error("nobody knows where it is")
	}
}

// kicked is an engine whose sessions are kicked while they are taken out of it.
type kicked struct {
	relay.Engine
	kick func(id uint64)
}

func (k *kicked) Release(id uint64) (relay.Pair, func(relay.Stats), bool) {
	p, done, ok := k.Engine.Release(id)
	if ok {
		k.kick(id)
	}
	return p, done, ok
}

// A session that is just being brought to a steward is in no engine. A kick finds it.
func TestASessionIsKickedOnItsWay(t *testing.T) {
	s := house(t)
	e := usherOf(t, s, nil)
	e.Lead()
	e.Local = &kicked{e.Local, func(id uint64) {
		if !e.Kick(id, relay.Expired) {
			t.Error("there is no such session")
		}
	}}
	near, client := line(t)
	back, server := line(t)
	why := make(chan relay.Ending, 1)
	e.keep(relay.Pair{ID: 1, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}}, func(st relay.Stats) { why <- st.Ended })
	heirloom{client, server}.closed(t)
	if got := <-why; got != relay.Expired {
		t.Errorf("it has ended: %s", got)
	}
	soon(t, "it is nowhere", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.strays) == 0 && !e.gathering })
}

// Secrets are wiped where a message was written, and it was written nowhere else.
func TestAMessageIsWrittenInOnePlace(t *testing.T) {
	a, b := ends(t)
	far := newInbox(connFor(t, b))
	o, err := newOutbox(connFor(t, a), func(*word) {})
	if err != nil {
		t.Fatal(err)
	}
	place := &o.text[:1][0]
	near, _ := line(t)
	back, _ := line(t)
	o.post(&word{kind: start, pair: relay.Pair{Client: relay.Leg{Conn: near, Keys: newKeys()}, Server: relay.Leg{Conn: back, Pending: make([]byte, 60<<10)}}})
	words, err := far.next()
	if err != nil {
		t.Fatal(err)
	}
	words[0].drop()
	o.drain(0)
	o.mu.Lock()
	defer o.mu.Unlock()
	if place != &o.text[:1][0] {
		t.Error("it was written elsewhere, too")
	}
	for _, c := range o.text[:cap(o.text)] {
		if c != 0 {
			t.Fatal("it is still there")
		}
	}
}

// Of a session one thing is heard at a time: were it adopted anew while it is still being
// called lost, it would go on and nobody would know it.
func TestASessionIsNotAdoptedWhileItIsBeingLost(t *testing.T) {
	s := house(t)
	adopted := make(chan struct{})
	e := usherOf(t, s, func(uint64, Note) func(relay.Stats) { close(adopted); return func(relay.Stats) {} })
	e.Lead()
	old, now := &link{}, e.linked()
	e.mu.Lock()
	e.seats[1] = seat{at: old, done: func(relay.Stats) {
		go now.has(&word{kind: have, id: 1})
		select {
		case <-adopted:
			t.Error("it is adopted before its end is known")
		case <-time.After(100 * time.Millisecond):
		}
	}}
	e.mu.Unlock()
	e.lost(old)
	<-adopted
}

// A steward that dies when it has just begun to pass its sessions on has told nobody that.
func TestWhatAStewardHasPassedOnIsNotLostWithIt(t *testing.T) {
	s := house(t)
	near, client := line(t)
	back, server := line(t)
	s.take(relay.Pair{ID: 1, Client: relay.Leg{Conn: near}, Server: relay.Leg{Conn: back}}, nil)
	e := usherOf(t, s, func(uint64, Note) func(relay.Stats) { return func(relay.Stats) {} })
	e.Lead()
	old := &link{e: e, yielded: make(chan bool, 1)}
	e.mu.Lock()
	e.seats[1] = seat{at: old, done: func(st relay.Stats) {
		if st.Ended != relay.Moved {
			t.Errorf("it has ended: %s", st.Ended)
		}
	}}
	e.mu.Unlock()
	old.expects()
	e.parted(old)
	soon(t, "it is found at the next steward", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.seats[1].at == e.link })
	heirloom{client, server}.hears(t)
	e.Leave() // which ends it for this usher
}
