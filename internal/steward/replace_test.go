//go:build linux

package steward_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"usher/internal/relay"
	"usher/internal/steward"
)

// ends are the far ends of sessions.
type ends struct{ client, server net.Conn }

// sessions starts some.
func sessions(t *testing.T, e *steward.Engine, b *book, n int) (all []ends) {
	t.Helper()
	for i := range n {
		c, s := session(t, e, b, uint64(i+1))
		passes(t, c, s)
		all = append(all, ends{c, s})
	}
	return all
}

// known holds that an usher knows each of so many sessions, and none has ended for it.
func known(t *testing.T, e *steward.Engine, b *book, n int) {
	t.Helper()
	for id := range uint64(n) {
		eventually(t, fmt.Sprintf("session %d is known", id+1), func() bool { return e.Has(id + 1) })
		if got := b.ends(id + 1); len(got) > 0 {
			t.Fatalf("session %d has ended %+v", id+1, got)
		}
	}
}

// The old steward may have nothing left before the usher has reached the new one.
func TestReplacementsFollowEachOther(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	const n = 3
	far := sessions(t, e, all, n)
	for i := range 10 {
		if err := e.Replace(); err != nil {
			t.Fatalf("replacement %d: %v", i, err)
		}
		for _, f := range far {
			passes(t, f.client, f.server)
			passes(t, f.server, f.client)
		}
		known(t, e, all, n)
	}
	if all.known() != 0 {
		t.Errorf("%d sessions were told as new ones", all.known())
	}
	if strings.Contains(p.log.String(), "ERROR") {
		t.Errorf("the log says:\n%s", p.log.String())
	}
	for id := range uint64(n) {
		e.Kick(id+1, relay.Kicked)
		eventually(t, "it has ended", func() bool { return len(all.ends(id+1)) == 1 })
	}
}

// A session that does not come to rest stays behind, in the first of three stewards: the
// second may not end before it has come by.
func TestASessionComesThroughTwoReplacements(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	first := e.PID()
	busy, slow := session(t, e, all, 1)
	sent := fill(busy) // to somebody who does not read yet
	c, s := session(t, e, all, 2)
	passes(t, c, s)
	for range 2 {
		if err := e.Replace(); err != nil {
			t.Fatal(err)
		}
		passes(t, c, s)
	}
	last := e.PID()
	eventually(t, "the first one has nothing else", func() bool { return e.Has(2) })
	if !runs(first) {
		t.Fatal("the first one has ended with a session that is not at rest")
	}
	heard := make(chan int64)
	go func() { n, _ := io.Copy(io.Discard, slow); heard <- n }()
	eventually(t, "the first one has ended", func() bool { return !runs(first) })
	e.Close()

	next := newBook()
	e = p.usher(next.adopt)
	e.Lead()
	if e.PID() != last {
		t.Errorf("who comes next finds %d, not %d", e.PID(), last)
	}
	eventually(t, "both sessions are there", func() bool { return e.Has(1) && e.Has(2) })
	_ = busy.Close()
	if n := <-heard; n != sent {
		t.Errorf("of %d bytes %d arrived", sent, n)
	}
	passes(t, c, s)
}

// fill says as much as goes in while nobody reads it, and returns how much that was.
func fill(nc net.Conn) (sent int64) {
	for {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := nc.Write(make([]byte, 64<<10))
		sent += int64(n)
		if err != nil {
			return sent
		}
	}
}

// An usher that has come before its predecessor had the steward replaced, and wants to
// have it replaced itself.
func TestTheStewardOfAnUsherThatIsLateIsReplacedToo(t *testing.T) {
	p, old, young := newPlace(t), newBook(), newBook()
	a := p.usher(old.adopt)
	a.Lead()
	busy, slow := session(t, a, old, 1)
	fill(busy)
	b := p.usher(young.adopt)
	b.Lead()
	if err := a.Replace(); err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(); err != nil {
		t.Fatal(err)
	}
	if a.PID() == b.PID() {
		t.Error("the young usher's steward is that of the old one")
	}
	_ = busy.Close()
	go func() { _, _ = io.Copy(io.Discard, slow); _ = slow.Close() }()
	eventually(t, "the session has ended", func() bool { return len(young.ends(1)) == 1 })
}

// A steward without sessions has nothing left at once, and has not read yet what comes to it.
func TestSessionsThatComeWhileAStewardLeavesAreNotLost(t *testing.T) {
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	id := uint64(0)
	for range 40 {
		replaced := make(chan error, 1)
		go func() { replaced <- e.Replace() }()
		var far []ends
		for done := false; !done; {
			id++
			c, s := session(t, e, all, id)
			far = append(far, ends{c, s})
			select {
			case err := <-replaced:
				if done = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
		first := id - uint64(len(far))
		for i, f := range far {
			passes(t, f.client, f.server)
			if got := all.ends(first + uint64(i) + 1); len(got) > 0 {
				t.Fatalf("session %d has ended %+v", i, got)
			}
			_, _ = f.client.Close(), f.server.Close()
		}
		eventually(t, "all have ended", func() bool { return e.Len() == 0 })
	}
	if n := all.known(); n > 0 {
		t.Errorf("%d were told as new ones", n)
	}
}
