package relaytest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher/internal/relay"
)

// greet lets both sides hear each other, so that TLS 1.3's tickets are read and
// a close is no reset.
func (s *scene) greet() {
	s.server.say(s.t, "* hello\r\n")
	s.client.hear(s.t, "* hello\r\n")
	s.client.say(s.t, "hello\r\n")
	s.server.hear(s.t, "hello\r\n")
}

var answer = strings.Repeat("a long answer that does not fit into one buffer\r\n", 8000)

func clientHalfClose(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.client.say(t, "a question\r\n")
	s.client.closeWrite(t)
	s.server.hearEnd(t, "a question\r\n")
	s.server.say(t, answer)
	_ = s.server.Close()
	s.client.hearEnd(t, answer)
	_ = s.client.Close()
	s.counted(s.end(relay.ClientLeft), len("a question\r\n"), len(answer))
}

func serverHalfClose(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.server.say(t, "* BYE\r\n")
	s.server.closeWrite(t)
	s.client.hearEnd(t, "* BYE\r\n")
	s.client.say(t, answer)
	_ = s.client.Close()
	s.server.hearEnd(t, answer)
	_ = s.server.Close()
	s.counted(s.end(relay.BackendClosed), len(answer), len("* BYE\r\n"))
}

func lastWords(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	said := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s.server, answer)
		said <- errors.Join(err, s.server.Close())
	}()
	s.client.hearEnd(t, answer)
	if err := <-said; err != nil {
		t.Error(err)
	}
	_ = s.client.Close()
	s.counted(s.end(relay.BackendClosed), 0, len(answer))
}

// slowListener hears the last words of a backend for longer than it may say nothing
// itself, by reading a little all the time.
func slowListener(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, func(p *relay.Pair) { _ = p.Client.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10) })
	_ = s.client.raw.SetReadBuffer(16 << 10)
	go func() {
		_, _ = io.WriteString(s.server, answer)
		_ = s.server.Close()
	}()
	heard := 0
	for b := make([]byte, len(answer)/40); ; time.Sleep(50 * time.Millisecond) {
		n, err := s.client.Read(b)
		if heard += n; err != nil {
			break
		}
	}
	if heard != len(answer) {
		t.Errorf("heard %d bytes of %d", heard, len(answer))
	}
	_ = s.client.Close()
	s.counted(s.end(relay.BackendClosed), 0, len(answer))
}

// noCloseNotify closes the socket under TLS, as phones do.
func noCloseNotify(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.greet()
	_ = s.client.raw.Close()
	s.server.hearEnd(t, "")
	_ = s.server.Close()
	if w.client == 0 {
		s.end(relay.ClientLeft)
	} else {
		s.end(relay.ClientCut)
	}
}

// cutAnswer has somebody on the way end the backend's connection: a client under TLS must
// not hear a goodbye that nobody has said.
func cutAnswer(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.greet()
	_ = s.server.raw.CloseWrite()
	rest, err := io.ReadAll(s.client.raw)
	if len(rest) > 0 || err != nil {
		t.Errorf("the client hears %d bytes, %v", len(rest), err)
	}
	_, _ = s.client.raw.Close(), s.server.raw.Close()
	s.end(relay.BackendCut)
}

const resets = 12

func clientReset(t *testing.T, e relay.Engine, w way) {
	for range resets {
		s := newScene(t, e, w, nil)
		s.untilReset(s.client)
		s.end(relay.ClientFailed, relay.ClientLeft, relay.ClientCut)
		s.server.drain(t)
	}
}

func serverReset(t *testing.T, e relay.Engine, w way) {
	for range resets {
		s := newScene(t, e, w, nil)
		s.untilReset(s.server)
		s.end(relay.BackendFailed, relay.BackendClosed, relay.BackendCut)
		s.client.drain(t)
	}
}

// untilReset lets both talk, and resets one of them at a random point. The
// system tells of a reset once: if a write has heard of it, reads see an end.
func (s *scene) untilReset(p peer) {
	s.greet()
	for _, q := range []peer{s.client, s.server} {
		go func() { _, _ = io.Copy(q, endless{}) }()
	}
	_, _ = io.CopyN(io.Discard, p, rand.Int64N(200<<10))
	p.reset()
}

// endless has always more to say.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// drain reads until the connection ends, in whatever way.
func (p peer) drain(t testing.TB) {
	t.Helper()
	_, err := io.Copy(io.Discard, p)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("the other side's connection stays open")
	}
}

const farewell = "* BYE please connect again\r\n"

// ending makes a pair that says goodbye.
func ending(idle time.Duration) func(*relay.Pair) {
	return func(p *relay.Pair) { p.Idle, p.Farewell = idle, farewell }
}

func idleEnds(t *testing.T, e relay.Engine, w way) {
	began := time.Now()
	s := newScene(t, e, w, func(p *relay.Pair) {
		ending(100 * time.Millisecond)(p)
		p.Server.Pending = []byte("* a line\r\n")
	})
	s.client.hearEnd(t, "* a line\r\n"+farewell)
	s.server.hearEnd(t, "")
	st := s.end(relay.Idled)
	s.counted(st, 0, len("* a line\r\n"))
	if silent := time.Since(began); silent < 100*time.Millisecond {
		t.Errorf("the pair ended after %v", silent)
	}
	if st.Last.Before(began.Add(-time.Second)) || st.Last.After(time.Now()) {
		t.Errorf("the last byte moved at %v", st.Last)
	}
}

func idleIsPostponed(t *testing.T, e relay.Engine, w way) {
	for range 5 {
		if talks(t, e, w) {
			return
		}
	}
	t.Error("this machine is too slow to talk all the time")
}

// talks returns false if this machine was too slow to keep the pair from idling.
func talks(t *testing.T, e relay.Engine, w way) bool {
	const idle = 600 * time.Millisecond
	s := newScene(t, e, w, ending(idle))
	last, longest := time.Now(), time.Duration(0)
	for end := time.Now().Add(idle + idle/4); time.Now().Before(end); time.Sleep(idle / 20) {
		_, _ = io.WriteString(s.client, "IDLE\r\n") // one way is enough
		heard := make([]byte, len("IDLE\r\n"))
		_, _ = io.ReadFull(s.server, heard)
		longest, last = max(longest, time.Since(last)), time.Now()
	}
	_ = s.client.Close()
	_ = s.server.Close()
	st := <-s.ended
	if st.Ended == relay.Idled && longest < idle/2 {
		t.Error("a pair ended as idle while it talked")
	}
	return st.Ended != relay.Idled
}

func kickFarewell(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, ending(0))
	s.server.say(t, "* a line\r\n")
	s.client.hear(t, "* a line\r\n")
	if !e.Kick(s.pair.ID, relay.Shutdown) {
		t.Error("Kick knows nothing of the pair")
	}
	s.client.hearEnd(t, farewell)
	s.server.hearEnd(t, "")
	s.counted(s.end(relay.Shutdown), 0, len("* a line\r\n"))
}

func kickMidLine(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, ending(0))
	s.server.say(t, "* 1 FETCH (BODY[] {9999}\r\nFrom: so")
	s.client.hear(t, "* 1 FETCH (BODY[] {9999}\r\nFrom: so")
	e.Kick(s.pair.ID, relay.Kicked)
	s.client.hearEnd(t, "")
	s.server.hearEnd(t, "")
	s.end(relay.Kicked)
}

// kickDeaf kicks a client whose buffers are full.
func kickDeaf(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, ending(0))
	s.greet()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = io.Copy(s.server, endless{})
	}()
	time.Sleep(50 * time.Millisecond) // some of it shall be stuck
	began := time.Now()
	e.Kick(s.pair.ID, relay.Kicked)
	s.end(relay.Kicked)
	<-stopped
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a client that does not read held its pair for %v", took)
	}
}

func kickSilent(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.greet()
	e.Kick(s.pair.ID, relay.Kicked)
	s.client.hearEnd(t, "")
	s.server.hearEnd(t, "")
	s.end(relay.Kicked)
}

func kickUnknown(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	if e.Kick(s.pair.ID+1_000_000, relay.Kicked) {
		t.Error("Kick hit a pair that never was")
	}
	s.greet()
	_ = s.client.Close()
	_ = s.server.Close()
	<-s.ended
	if e.Kick(s.pair.ID, relay.Kicked) {
		t.Error("Kick hit a pair that had ended")
	}
}

func kickTwice(t *testing.T, e relay.Engine, w way) {
	for range 50 {
		s := newScene(t, e, w, ending(0))
		s.greet()
		for range 3 {
			e.Kick(s.pair.ID, relay.Kicked)
		}
		s.client.hearEnd(t, farewell) // whole, and once
		s.end(relay.Kicked)
	}
}

func kickInFlow(t *testing.T, e relay.Engine, w way) {
	for range 10 {
		s := newScene(t, e, w, ending(0))
		for _, p := range []peer{s.client, s.server} {
			go func() { _, _ = io.Copy(p, endless{}) }()
			go func() { _, _ = io.Copy(io.Discard, p) }()
		}
		time.Sleep(rand.N(3 * time.Millisecond)) // any moment
		e.Kick(s.pair.ID, relay.Kicked)
		s.end(relay.Kicked)
	}
}

// doneMeansClosed looks from the other side: what is closed answers a byte with a
// reset, and has said before that no more comes.
func doneMeansClosed(t *testing.T, e relay.Engine, w way) {
	s := newScene(t, e, w, nil)
	s.greet()
	e.Kick(s.pair.ID, relay.Kicked)
	<-s.ended
	for _, p := range []peer{s.client, s.server} {
		_ = p.raw.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, p.raw); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("after done a socket is still open")
		}
	}
}
