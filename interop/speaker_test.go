package interop

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// A speaker is a resident that talks to a mirror, and listens whether all comes back.
type speaker struct {
	out   io.Writer
	in    io.Reader
	pause time.Duration // between two words, at most
	sent  atomic.Int64
	said  hash.Hash
	over  chan struct{}
	err   chan error
}

func newSpeaker(out io.Writer, in io.Reader, pause time.Duration) *speaker {
	return &speaker{out: out, in: in, pause: pause, said: sha256.New(), over: make(chan struct{}), err: make(chan error, 2)}
}

// run talks until it is told to stop: mostly little, now and then much, and never what
// another one says.
func (s *speaker) run() {
	said := make(chan int64, 1)
	go func() { s.err <- s.listen(said) }()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	random := rand.NewChaCha8(seed)
	r := rand.New(random)
	var err error
	for goesOn := true; goesOn && err == nil; {
		b := make([]byte, 1+r.IntN(1<<r.IntN(15)))
		_, _ = random.Read(b)
		err = s.say(b)
		select {
		case <-s.over:
			goesOn = false
		case <-time.After(rand.N(s.pause)):
		}
	}
	if err == nil {
		last := []byte("over\n")
		said <- s.sent.Load() + int64(len(last)) // before it comes back
		err = s.say(last)
	}
	s.err <- err
}

func (s *speaker) say(b []byte) error {
	b[len(b)-1] = '\n'
	s.said.Write(b)
	s.sent.Add(int64(len(b)))
	_, err := s.out.Write(b)
	return err
}

// listen reads what comes back, and compares when it is known how much that must be.
func (s *speaker) listen(said <-chan int64) error {
	heard, n, total := sha256.New(), int64(0), int64(-1)
	b := make([]byte, 64<<10)
	for total < 0 || n < total {
		m, err := s.in.Read(b)
		heard.Write(b[:m])
		n += int64(m)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		select {
		case total = <-said:
		default:
		}
	}
	if got, want := fmt.Sprintf("%x", heard.Sum(nil)), fmt.Sprintf("%x", s.said.Sum(nil)); got != want || n != total {
		return fmt.Errorf("of %d bytes that were said %d came back, others than these", total, n)
	}
	return nil
}

// leave waits for the last byte.
func (s *speaker) leave(t *testing.T) {
	t.Helper()
	close(s.over)
	for range 2 {
		select {
		case err := <-s.err:
			if err != nil {
				t.Errorf("a session was hurt: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a session hangs")
		}
	}
}
