package wire_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/relay/relaytest"
	"usher/internal/wire"
)

// dial connects two Conns over TCP.
func dial(t *testing.T, b wire.Bounds) (near, far *wire.Conn) {
	t.Helper()
	a, z := relaytest.Sockets(t)
	near, far = wire.New(a, b), wire.New(z, wire.Bounds{Step: 10 * time.Second})
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// protect takes both ends under TLS.
func protect(t *testing.T, near, far *wire.Conn, version uint16) {
	t.Helper()
	server, client := relaytest.TLS(version)
	done := make(chan error, 1)
	go func() {
		done <- far.EnterTLS(t.Context(), client)
	}()
	err := near.ServeTLS(t.Context(), server)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
}

func TestBothHalvesGoUnderTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := dial(t, wire.Bounds{})
		_ = far.WriteLine("STARTTLS") // leaves with StartTLS's own Flush
		_ = far.Flush()
		_, _ = near.ReadLine()
		_ = near.WriteLine("OK") // so does this
		done := make(chan struct{})
		go func() {
			defer close(done)
			protectAfter(t, far, version)
		}()
		server, _ := relaytest.TLS(version)
		if err := near.ServeTLS(t.Context(), server); err != nil {
			t.Fatal(err)
		}
		if line, err := near.ReadLine(); line != "under TLS" || err != nil {
			t.Errorf("heard %q %v", line, err)
		}
		if state := near.TLS(); state == nil || state.Version != version {
			t.Errorf("the state is %+v, want version %x", state, version)
		}
		<-done
	}
}

// protectAfter is the client's half: it waits for OK.
func protectAfter(t *testing.T, c *wire.Conn, version uint16) {
	_, client := relaytest.TLS(version)
	if line, err := c.ReadLine(); line != "OK" {
		t.Errorf("heard %q %v", line, err)
	}
	if err := c.EnterTLS(t.Context(), client); err != nil {
		t.Error(err)
	}
	_ = c.WriteLine("under TLS")
	_ = c.Flush()
}

func TestWhatStandsBehindSTARTTLSInClearIsNeverRead(t *testing.T) {
	c := wire.New(record("STARTTLS\r\na2 LOGIN eve pw\r\n", all), wire.Bounds{})
	_, _ = c.ReadLine()
	started := false
	err := c.ServeTLS(t.Context(), &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		started = true
		return nil, nil
	}})
	if !errors.Is(err, wire.ErrEarly) || started {
		t.Errorf("got %v, started: %v", err, started)
	}
}

// TestWhatComesInClearLaterIsNeverRead sends the injected bytes in a packet of
// their own, when the check for early bytes has passed.
func TestWhatComesInClearLaterIsNeverRead(t *testing.T) {
	near, far := dial(t, wire.Bounds{Step: 10 * time.Second})
	server, _ := relaytest.TLS(tls.VersionTLS13)
	_ = far.WriteLine("a2 LOGIN eve pw") // in the socket, and not read yet
	_ = far.Flush()
	if err := near.ServeTLS(t.Context(), server); err == nil {
		t.Error("clear bytes were taken for a handshake")
	}
	if near.TLS() != nil {
		t.Error("the connection counts as encrypted")
	}
}

func TestAHandshakeThatNeverEndsIsCut(t *testing.T) {
	near, far := dial(t, wire.Bounds{Step: 50 * time.Millisecond})
	server, _ := relaytest.TLS(tls.VersionTLS13)
	began := time.Now()
	err := near.ServeTLS(context.Background(), server)
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("a silent peer was waited for %v: %v", time.Since(began), err)
	}
	_ = far.Close()
}

func TestDetachGivesExactlyWhatWasNotRead(t *testing.T) {
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		near, far := dial(t, wire.Bounds{Step: 10 * time.Second, Until: time.Now().Add(10 * time.Second)})
		if version != 0 {
			protect(t, near, far, version)
		}
		_ = far.WriteLine("a1 LOGIN ann pw")
		_ = far.WriteLine("a2 NOOP")
		_ = far.WriteLine("a3 LIST")
		_ = far.Flush()
		if line, err := near.ReadLine(); line != "a1 LOGIN ann pw" {
			t.Fatalf("read %q %v", line, err)
		}
		leg := near.Detach()
		conn := leg.Conn
		if leg.TLS != nil {
			conn = leg.TLS
		}
		if (leg.TLS != nil) != (version != 0) {
			t.Errorf("version %x: TLS is %v", version, leg.TLS)
		}
		rest := make([]byte, len("a2 NOOP\r\na3 LIST\r\n")-len(leg.Pending))
		_, err := io.ReadFull(conn, rest)
		if got := string(leg.Pending) + string(rest); err != nil || got != "a2 NOOP\r\na3 LIST\r\n" {
			t.Errorf("version %x: what follows is %q (%v)", version, got, err)
		}
		if cap(leg.Pending) > 100 {
			t.Errorf("Pending keeps %d bytes of a buffer", cap(leg.Pending))
		}
		_ = leg.Conn.Close()
	}
}

func TestDetachClearsDeadlines(t *testing.T) {
	for _, interrupt := range []bool{false, true} {
		near, far := dial(t, wire.Bounds{Step: 20 * time.Millisecond})
		_ = far.WriteLine("a line")
		_ = far.Flush()
		_, _ = near.ReadLine()
		_ = near.WriteLine("answer")
		_ = near.Flush()
		if interrupt {
			near.Interrupt()
		}
		leg := near.Detach()
		near.Interrupt() // too late: the connection is not ours
		said := make(chan struct{})
		time.AfterFunc(60*time.Millisecond, func() { // longer than a step
			defer close(said)
			_ = far.WriteLine("later")
			_ = far.Flush()
		})
		b := make([]byte, 7)
		if _, err := io.ReadFull(leg.Conn, b); string(b) != "later\r\n" {
			t.Errorf("interrupted %v: read %q %v", interrupt, b, err)
		}
		<-said
		_ = leg.Conn.Close()
	}
}

func TestCloseAfterDetachDoesNothing(t *testing.T) {
	peer := record("", all)
	c := wire.New(peer, wire.Bounds{})
	_ = c.Detach()
	if err := c.Close(); err != nil || peer.closed {
		t.Errorf("the connection was closed: %v, %v", peer.closed, err)
	}
	c = wire.New(peer, wire.Bounds{})
	if err := errors.Join(c.Close(), c.Close()); err != nil || !peer.closed {
		t.Errorf("closed twice: %v, %v", peer.closed, err)
	}
}

func TestAnInterruptEndsTheReadThatWaits(t *testing.T) {
	for _, version := range []uint16{0, tls.VersionTLS13} {
		near, far := dial(t, wire.Bounds{Step: 10 * time.Second})
		if version != 0 {
			protect(t, near, far, version)
		}
		interrupted := make(chan struct{})
		go func() {
			defer close(interrupted)
			_, _ = far.ReadLine() // "ready": near is about to wait
			near.Interrupt()
		}()
		_ = near.WriteLine("ready")
		for range 2 {
			if _, err := near.ReadLine(); !errors.Is(err, wire.ErrInterrupted) {
				t.Errorf("version %x: got %v, want %v", version, err, wire.ErrInterrupted)
			}
		}
		<-interrupted
		_ = near.WriteLine("* BYE")
		if err := near.Flush(); err != nil {
			t.Errorf("version %x: the goodbye does not leave: %v", version, err)
		}
		if line, err := far.ReadLine(); line != "* BYE" {
			t.Errorf("version %x: heard %q %v", version, line, err)
		}
	}
}

// TestAnInterruptMayComeAtAnyMoment is for the race detector.
func TestAnInterruptMayComeAtAnyMoment(t *testing.T) {
	for i := range 100 {
		c := wire.New(record(strings.Repeat("a line\r\n", 10), 5), wire.Bounds{Step: time.Second})
		var wg sync.WaitGroup
		wg.Go(c.Interrupt)
		for range i % 10 {
			_, _ = c.ReadLine()
			_ = c.WriteLine("an answer")
		}
		_ = c.Flush()
		if i%2 == 0 {
			_ = c.Detach()
		} else {
			_ = c.Close()
		}
		wg.Wait()
	}
}

// What stands behind a preface in the same packet belongs to the handshake.
func TestTLSBeginsBehindAPreface(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, z := relaytest.Sockets(t)
		near := wire.New(a, wire.Bounds{Step: 10 * time.Second})
		server, client := relaytest.TLS(version)
		peer := tls.Client(&behind{z, "preface\r\n"}, client)
		done := make(chan error, 1)
		go func() {
			_, err := io.WriteString(peer, "under TLS\r\n") // the first packet has the preface, too
			done <- err
		}()
		var said string
		err := near.Preface(time.Now().Add(10*time.Second), func(r *bufio.Reader) (err error) {
			said, err = r.ReadString('\n')
			return err
		})
		if said != "preface\r\n" || err != nil {
			t.Fatalf("the preface is %q %v", said, err)
		}
		err = near.ServeTLS(t.Context(), server)
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		if line, err := near.ReadLine(); line != "under TLS" || err != nil {
			t.Errorf("heard %q %v", line, err)
		}
		_, _ = near.Close(), peer.Close()
	}
}

// behind sends something before what it is given first, in the same packet.
type behind struct {
	net.Conn
	text string
}

func (b *behind) Write(p []byte) (int, error) {
	n, err := b.Conn.Write(append([]byte(b.text), p...))
	n, b.text = max(0, n-len(b.text)), ""
	return n, err
}

func TestAPrefaceThatDoesNotComeIsCut(t *testing.T) {
	near, _ := dial(t, wire.Bounds{})
	err := near.Preface(time.Now().Add(20*time.Millisecond), func(r *bufio.Reader) error { _, err := r.Peek(1); return err })
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	near.Interrupt()
	err = near.Preface(time.Now().Add(time.Hour), func(r *bufio.Reader) error { _, err := r.Peek(1); return err })
	if !errors.Is(err, wire.ErrInterrupted) {
		t.Errorf("got %v, want %v", err, wire.ErrInterrupted)
	}
}

func TestTheEndsOfAConnectionAreKnown(t *testing.T) {
	a, z := relaytest.Sockets(t)
	c := wire.New(a, wire.Bounds{})
	ours, theirs := c.Ends()
	if ours.String() != a.LocalAddr().String() || theirs.String() != z.LocalAddr().String() {
		t.Errorf("%v and %v, want %v and %v", ours, theirs, a.LocalAddr(), z.LocalAddr())
	}
	_, _ = c.Close(), z.Close()
	pipe, other := net.Pipe()
	c = wire.New(pipe, wire.Bounds{})
	if ours, _ := c.Ends(); ours.IsValid() {
		t.Errorf("a pipe ends at %v", ours)
	}
	_, _ = c.Close(), other.Close()
}
