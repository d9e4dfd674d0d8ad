package relay

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The client's socket is full and nothing waits in rest, when a backend under TLS 1.2
// says its last words and close_notify in one piece. The client does not read for
// longer than it may linger, then reads everything.
func TestLastWordsThatWaitForASlowClientArrive(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cl, craw, _ := newLeg(t, 0, true, nil)
	sl, _, stls := newLeg(t, tls.VersionTLS12, false, nil)
	ended := make(chan Stats, 1)
	e.Start(Pair{ID: 1, Client: cl, Server: sl, Idle: time.Hour}, func(s Stats) { ended <- s })
	e.Hurry()
	l, filled := e.loop(1), 0
	l.tell(func() { // as earlier bytes of the session would
		fd := l.pair(1).legs[client].fd
		for {
			n, err := unix.Write(int(fd), bytes.Repeat([]byte("."), 4096))
			if err != nil {
				break
			}
			filled += n
		}
		stls.Write([]byte("last words\r\n"))
		stls.Close()
		time.Sleep(20 * time.Millisecond)
	})
	began := time.Now()
	time.Sleep(brief.client + brief.client/2)
	craw.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(craw)
	if len(got) != filled+12 {
		t.Errorf("%d of %d bytes arrived (%v)", len(got), filled+12, err)
	}
	craw.Close()
	st := <-ended
	t.Log(st, st.Last.Sub(began))
}
