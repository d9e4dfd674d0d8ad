package relaytest

import (
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/relay"
)

// release takes a pair back that is at rest, or will be as soon as the machine has time.
func (s *scene) release() relay.Pair {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if p, _, ok := s.engine.Release(s.pair.ID); ok {
			return p
		}
	}
	s.t.Fatal("the engine does not give a pair at rest back")
	panic("not reached")
}

// releaseGoesOn moves a pair in the middle of a line, while both sides talk.
func releaseGoesOn(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, ending(0))
	s.greet()
	s.server.say(t, "* 1 FETCH (BODY[] {30}\r\nFrom: ")
	s.client.hear(t, "* 1 FETCH (BODY[] {30}\r\nFrom: ")
	s.client.say(t, "a1 NOOP\r\n")
	s.server.hear(t, "a1 NOOP\r\n")
	p := s.release()
	if e.Kick(s.pair.ID, relay.Kicked) {
		t.Error("Kick hit a pair that was given back")
	}
	if !p.MidLine || p.ID != s.pair.ID || p.Farewell != farewell {
		t.Errorf("given back: %+v", p)
	}
	s.client.say(t, "said to nobody ") // it waits in the socket
	s.server.say(t, "ann\r\n")
	e.Start(p, s.done)
	s.server.hear(t, "said to nobody ")
	s.client.hear(t, "ann\r\n")
	e.Kick(p.ID, relay.Kicked)
	s.client.hearEnd(t, farewell) // the line is whole now
	s.server.hearEnd(t, "")
	s.counted(s.end(relay.Kicked), len("hello\r\na1 NOOP\r\nsaid to nobody "), len("* hello\r\n* 1 FETCH (BODY[] {30}\r\nFrom: ann\r\n"))
}

// releaseWithinLine moves a pair of which the next engine sees nothing but the end.
func releaseWithinLine(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, ending(0))
	s.server.say(t, "* 1 FETCH (")
	s.client.hear(t, "* 1 FETCH (")
	e.Start(s.release(), s.done)
	e.Kick(s.pair.ID, relay.Kicked)
	s.client.hearEnd(t, "")
	s.counted(s.end(relay.Kicked), 0, len("* 1 FETCH ("))
}

// releaseKeepsTime moves a pair that has been silent.
func releaseKeepsTime(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, func(p *relay.Pair) { p.Idle = time.Hour })
	s.greet()
	p := s.release()
	if p.Idle != time.Hour {
		t.Errorf("given back with an idle time of %v", p.Idle)
	}
	if since := time.Since(p.Before.Last); since < 0 || since > patience {
		t.Errorf("given back with a last byte %v ago", since)
	}
	p.Before.Last = time.Now().Add(-time.Minute)
	p.Idle = time.Minute + 50*time.Millisecond
	last := p.Before.Last
	e.Start(p, s.done)
	if st := s.end(relay.Idled); !near(st.Last, last) {
		t.Errorf("the last byte moved at %v; no byte has moved since %v", st.Last, last)
	}
}

// near tells whether two times are the same but for the rounding of clocks.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < time.Second }

// releaseInFlow takes a pair out of its engine and gives it back, again and again,
// while both sides talk all the time.
func releaseInFlow(t *testing.T, e relay.Engine, w way) {
	const n = 4 << 20
	s := newScene(t, e, w, nil)
	var moves atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if p, done, ok := e.Release(s.pair.ID); ok {
				moves.Add(1)
				e.Start(p, done)
			}
		}
	}()
	exchange(t, s.client, s.server, 7, n)
	close(stop)
	<-stopped
	t.Logf("moved %d times", moves.Load())
	_ = s.client.Close()
	s.server.hearEnd(t, "")
	_ = s.server.Close()
	s.counted(s.end(relay.ClientLeft), n, n)
}

func releaseUnknown(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	if _, _, ok := e.Release(s.pair.ID + 1_000_000); ok {
		t.Error("the engine gave a pair that never was")
	}
	p := s.release()
	if _, _, ok := e.Release(s.pair.ID); ok {
		t.Error("the engine gave a pair twice")
	}
	e.Start(p, s.done)
	_, _ = s.client.Close(), s.server.Close()
	s.end(relay.ClientLeft, relay.BackendClosed)
	if _, _, ok := e.Release(s.pair.ID); ok {
		t.Error("the engine gave a pair that had ended")
	}
}

// keeps holds that an engine does not give a pair back now.
func (s *scene) keeps(why string) {
	s.t.Helper()
	if _, _, ok := s.engine.Release(s.pair.ID); ok {
		s.t.Fatalf("the engine gave a pair back that %s", why)
	}
}

func encryptedStays(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.keeps("cannot move")
	s.greet()
	s.keeps("cannot move")
	s.greet()
	_, _ = s.client.Close(), s.server.Close()
	s.end(relay.ClientLeft, relay.BackendClosed)
}

func halfClosedStays(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.client.say(t, "a question\r\n")
	s.client.closeWrite(t)
	s.server.hearEnd(t, "a question\r\n")
	s.keeps("is half-closed")
	s.server.say(t, "an answer\r\n")
	_ = s.server.Close()
	s.client.hearEnd(t, "an answer\r\n")
	s.counted(s.end(relay.ClientLeft), len("a question\r\n"), len("an answer\r\n"))
}

// stuckStays asks for a pair of which something is read and not yet written.
func stuckStays(t *testing.T, e relay.Engine, w way) {
	const total = 16 << 20
	s := newScene(t, e, w, nil)
	var moved atomic.Int64
	out := newStream(2, total)
	sent := make(chan error, 1)
	go func() { sent <- out.write(s.server, &moved) }()
	stall(t, &moved)
	s.keeps("has something to write")
	s.client.say(t, "still here\n")
	s.server.hear(t, "still here\n")
	out.arrives(t, s.client, total, sent)
	_, _ = s.client.Close(), s.server.Close()
	s.counted(s.end(relay.ClientLeft, relay.BackendClosed), len("still here\n"), total)
}
