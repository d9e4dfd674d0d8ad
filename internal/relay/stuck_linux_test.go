package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A stuck is one of the states in which a hang-up could be told on and on.
type stuck struct {
	name string
	do   func(client talker, clientSocket, backend *net.TCPConn)
}

type talker interface {
	io.Writer
	CloseWrite() error
}

var (
	long   = bytes.Repeat([]byte("x"), 16<<20)
	stucks = []stuck{
		{"both are stuck", func(c talker, _, b *net.TCPConn) {
			go func() { _, _ = c.Write(long) }()
			_, _ = b.Write(long)
		}},
		{"the client is stuck, the backend is reset", func(_ talker, _, b *net.TCPConn) {
			_, _ = b.Write(long)
			_, _ = b.SetLinger(0), b.Close()
		}},
		{"the backend is stuck, the client is reset", func(c talker, raw, _ *net.TCPConn) {
			_, _ = c.Write(long)
			_, _ = raw.SetLinger(0), raw.Close()
		}},
		{"the client is done talking, and stuck", func(c talker, _, b *net.TCPConn) {
			_ = c.CloseWrite()
			_, _ = b.Write(long)
		}},
		{"the backend is done talking, and stuck", func(c talker, _, b *net.TCPConn) {
			_ = b.CloseWrite()
			_, _ = c.Write(long)
		}},
		{"the client has closed, the backend says nothing", func(_ talker, raw, _ *net.TCPConn) {
			_ = raw.Close()
		}},
	}
)

func TestStuckPairsBurnNoProcessor(t *testing.T) {
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		for _, s := range stucks {
			t.Run(fmt.Sprintf("%s/%x", s.name, version), func(t *testing.T) { s.burnsNothing(t, version) })
		}
	}
}

func (s stuck) burnsNothing(t *testing.T, version uint16) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cl, craw, ctls := newLeg(t, version, true, nil)
	sl, sraw, _ := newLeg(t, 0, false, nil)
	ended := make(chan Stats, 1)
	e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(s Stats) { ended <- s })
	var c talker = craw
	if ctls != nil {
		c = ctls
	}
	enough := time.Now().Add(100 * time.Millisecond)
	_, _ = craw.SetWriteDeadline(enough), sraw.SetWriteDeadline(enough)
	s.do(c, craw, sraw)
	time.Sleep(time.Until(enough) + 20*time.Millisecond)
	const while = 100 * time.Millisecond
	before := processorTime()
	time.Sleep(while)
	if used := processorTime() - before; used > while/2 {
		t.Errorf("uses %v of processor time in %v", used, while)
	}
	e.Kick(1, Kicked)
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		t.Error("does not end")
	}
}
