package relaytest

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/relay"
)

// A stream is random bytes that come in random pieces.
type stream struct {
	bytes  *rand.ChaCha8
	random *rand.Rand
	left   int
	sum    hash.Hash
}

func newStream(seed uint64, n int) *stream {
	bytes := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	return &stream{bytes, rand.New(bytes), n, sha256.New()}
}

// next is the next piece; none at the end. Most are short, as in mail protocols.
func (s *stream) next() []byte {
	n := min(s.left, 1+s.random.IntN(1<<s.random.IntN(17)))
	b := make([]byte, n)
	_, _ = s.bytes.Read(b)
	s.left -= n
	s.sum.Write(b)
	return b
}

// write sends all of the stream.
func (s *stream) write(w io.Writer, moved *atomic.Int64) error {
	for s.left > 0 {
		n, err := w.Write(s.next())
		moved.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return nil
}

// arrives holds what arrives against the stream.
func (s *stream) arrives(t testing.TB, r io.Reader, n int, sent <-chan error) {
	got := sha256.New()
	if m, err := io.CopyN(got, r, int64(n)); err != nil {
		t.Errorf("%d of %d bytes arrived: %v", m, n, err)
		return
	}
	if err := <-sent; err != nil || !bytes.Equal(got.Sum(nil), s.sum.Sum(nil)) {
		t.Errorf("other bytes arrived than were sent (%v)", err)
	}
}

// exchange sends n bytes each way at the same time.
func exchange(t testing.TB, a, b io.ReadWriter, seed uint64, n int) {
	var wg sync.WaitGroup
	for i, d := range []struct {
		from io.Writer
		to   io.Reader
	}{{a, b}, {b, a}} {
		s := newStream(seed+uint64(i), n)
		sent := make(chan error, 1)
		wg.Go(func() { sent <- s.write(d.from, new(atomic.Int64)) })
		wg.Go(func() { s.arrives(t, d.to, n, sent) })
	}
	wg.Wait()
}

func allBytesArrive(t *testing.T, e relay.Engine, w way) {
	const n = 1 << 20
	seed := rand.Uint64N(1 << 24)
	t.Logf("seed %d", seed)
	s := newScene(t, e, w, nil)
	exchange(t, s.client, s.server, seed, n)
	s.client.closeWrite(t)
	s.server.hearEnd(t, "")
	s.server.closeWrite(t)
	s.client.hearEnd(t, "")
	s.counted(s.end(relay.ClientLeft), n, n)
}

func pendingFirst(t *testing.T, e relay.Engine, w way) {
	long := strings.Repeat("0123456789abcdef", 4096)
	s := newScene(t, e, w, func(p *relay.Pair) {
		p.Client.Pending = []byte("a2 NOOP\r\n")
		p.Server.Pending = []byte(long)
	})
	s.client.say(t, "a3 LOGOUT\r\n")
	s.server.say(t, "* BYE\r\n")
	s.server.hear(t, "a2 NOOP\r\na3 LOGOUT\r\n")
	s.client.hear(t, long+"* BYE\r\n")
	_ = s.server.Close()
	s.client.hearEnd(t, "")
	_ = s.client.Close()
	s.counted(s.end(relay.BackendClosed), len("a2 NOOP\r\na3 LOGOUT\r\n"), len(long)+len("* BYE\r\n"))
}

// pendingIsKept gives slices with room behind them that belongs to others.
func pendingIsKept(t *testing.T, e relay.Engine, w way) {
	shared := []byte("pending|not ours")
	s := newScene(t, e, w, func(p *relay.Pair) { p.Client.Pending = shared[:8:8] })
	s.client.say(t, "behind it")
	s.server.hear(t, "pending|behind it")
	if string(shared[8:]) != "not ours" {
		t.Errorf("the bytes behind Pending are now %q", shared[8:])
	}
	_ = s.client.Close()
	s.server.hearEnd(t, "")
	_ = s.server.Close()
	s.end(relay.ClientLeft)
}

func pairsDoNotMix(t *testing.T, e relay.Engine, w way) {
	const pairs, n = 40, 32 << 10
	scenes := make([]*scene, pairs)
	var wg sync.WaitGroup
	for i := range scenes {
		scenes[i] = newScene(t, e, w, nil)
	}
	for i, s := range scenes {
		wg.Go(func() { exchange(t, s.client, s.server, uint64(i), n) })
	}
	wg.Wait()
	for _, s := range scenes {
		_ = s.client.Close()
		_ = s.server.Close()
		select {
		case st := <-s.ended:
			s.counted(st, n, n)
		case <-time.After(patience):
			t.Fatal("a pair does not end")
		}
	}
}

// backPressure lets a client stop reading. The sockets' own buffers are small:
// what is taken from the backend beyond them is held by the engine.
func backPressure(t *testing.T, e relay.Engine, w way) {
	const total, most = 8 << 20, 2 << 20
	s := newScene(t, e, w, func(p *relay.Pair) {
		_ = p.Client.Conn.(*net.TCPConn).SetWriteBuffer(32 << 10)
		_ = p.Server.Conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	})
	_ = s.client.raw.SetReadBuffer(32 << 10)
	_ = s.server.raw.SetWriteBuffer(32 << 10)
	var moved atomic.Int64
	out := newStream(1, total)
	sent := make(chan error, 1)
	go func() { sent <- out.write(s.server, &moved) }()
	if stuck := stall(t, &moved); stuck > most {
		t.Errorf("the backend could send %d bytes to a client that reads none", stuck)
	}
	s.client.say(t, "still here\n") // the other way is free
	s.server.hear(t, "still here\n")
	out.arrives(t, s.client, total, sent)
	_ = s.client.Close()
	s.server.hearEnd(t, "")
	_ = s.server.Close()
	s.counted(s.end(relay.ClientLeft), len("still here\n"), total)
}

// stall waits until nothing moves any more.
func stall(t testing.TB, moved *atomic.Int64) int64 {
	const quiet = 200 * time.Millisecond
	was, since := int64(-1), time.Now()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(quiet / 20) {
		if n := moved.Load(); n != was {
			was, since = n, time.Now()
		} else if time.Since(since) > quiet {
			return n
		}
	}
	t.Fatal("the writer is never slowed down")
	return 0
}

// busyNeighbours has several pairs in full flow, on every loop that there may be.
func busyNeighbours(t *testing.T, e relay.Engine, w way) {
	var busy []*scene
	for range 4 {
		s := newScene(t, e, w, nil)
		go func() { _, _ = io.Copy(s.server, endless{}) }()
		go func() { _, _ = io.Copy(io.Discard, s.client) }()
		busy = append(busy, s)
	}
	quiet := newScene(t, e, w, nil)
	for range 5 {
		quiet.greet()
	}
	for _, s := range append(busy, quiet) {
		e.Kick(s.pair.ID, relay.Kicked)
		s.end(relay.Kicked)
	}
}
