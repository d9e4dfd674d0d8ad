//go:build linux

package steward_test

import (
	"net"
	"testing"
	"time"
)

// leaves ends a session, and waits until an usher has been told.
func leaves(t *testing.T, id uint64, client, server net.Conn, b *book) {
	t.Helper()
	_, _ = client.Close(), server.Close()
	eventually(t, "the end is told", func() bool { return len(b.ends(id)) == 1 })
}

// At each upgrade some session has just ended: its line stands in one log, not in two.
func TestWhatTheOldUsherWasToldIsNotToldToTheNewOne(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	slow := make(chan struct{})
	a := p.usherLogging(old.adopt, func() { <-slow })
	a.Lead()
	c1, s1 := session(t, a, old, 1)
	c2, s2 := session(t, a, old, 2)
	leaves(t, 1, c1, s1, old)
	b := p.usher(young.adopt)
	b.Lead()
	leaves(t, 2, c2, s2, young)
	close(slow)
	if got := young.ends(1); len(got) != 0 {
		t.Errorf("the new usher hears of a session that the old one logs: %v", got)
	}
}

// What was told is not logged yet. Whoever comes next is told again.
func TestAnEndIsToldAgainUntilItIsInTheLog(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	slow, asked := make(chan struct{}), make(chan struct{}, 10)
	a := p.usherLogging(old.adopt, func() { asked <- struct{}{}; <-slow })
	defer close(slow)
	a.Lead()
	c, s := session(t, a, old, 1)
	leaves(t, 1, c, s, old)
	<-asked // it would now say that it is logged
	a.Vanish()
	b := p.usher(young.adopt)
	b.Lead()
	eventually(t, "the next usher is told", func() bool { return len(young.ends(1)) == 1 })
}

// An usher that leaves the sessions to the next one says nothing of those that end from then on.
func TestAnEndAfterTheLeaveIsForTheNextUsher(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	a := p.usher(old.adopt)
	a.Lead()
	c1, s1 := session(t, a, old, 1)
	c2, s2 := session(t, a, old, 2)
	passes(t, c1, s1)
	passes(t, c2, s2)
	a.Leave()
	_, _ = c1.Close(), s1.Close()
	a.Kick(2, "") // not ours any more
	passes(t, c2, s2)
	time.Sleep(200 * time.Millisecond) // by then it would have said that it has logged it
	a.Close()
	b := p.usher(young.adopt)
	b.Lead()
	eventually(t, "the next usher is told", func() bool { return len(young.ends(1)) == 1 })
}

// An usher that ends while its log takes no lines has not logged what it was told.
func TestAnEndThatIsNotInTheLogAtTheEndIsToldAgain(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	stuck, asked := make(chan struct{}), make(chan struct{}, 10)
	a := p.usherLogging(old.adopt, func() { asked <- struct{}{}; <-stuck })
	defer close(stuck)
	a.Lead()
	c, s := session(t, a, old, 1)
	leaves(t, 1, c, s, old)
	<-asked
	a.Close()
	b := p.usher(young.adopt)
	b.Lead()
	eventually(t, "the next usher is told", func() bool { return len(young.ends(1)) == 1 })
}
