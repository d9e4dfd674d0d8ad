package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); d.Close() })
	return a.(*net.TCPConn), d.(*net.TCPConn)
}

var selfSigned = sync.OnceValue(func() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tm := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, tm, tm, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// newLeg: nearServer: the engine is the TLS server.
func newLeg(t testing.TB, version uint16, nearServer bool, log io.Writer) (Leg, *net.TCPConn, *tls.Conn) {
	a, b := tcpPair(t)
	if version == 0 {
		return Leg{Conn: a}, b, nil
	}
	sc := &tls.Config{Certificates: []tls.Certificate{selfSigned()}, MinVersion: version, MaxVersion: version}
	cc := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, KeyLogWriter: log}
	l := Leg{Conn: a}
	var far *tls.Conn
	if nearServer {
		l.TLS, far = Server(a, sc), tls.Client(b, cc)
	} else {
		l.TLS, far = Client(a, cc), tls.Server(b, sc)
	}
	e := make(chan error, 1)
	go func() { e <- l.TLS.Handshake() }()
	if err := errors.Join(far.Handshake(), <-e); err != nil {
		t.Fatal(err)
	}
	return l, b, far
}

func bothEngines(t *testing.T, f func(t *testing.T, e Engine)) {
	t.Run("goroutine", func(t *testing.T) { f(t, NewGoroutines().Hurry()) })
	t.Run("epoll", func(t *testing.T) {
		e, err := NewEpoll()
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(t, e.Hurry())
	})
}

// After Close the eventfd's number belongs to others.
func TestAClosedEngineTouchesNoStrangersDescriptor(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	wake := e.loops[0].wake
	_ = e.Close()
	// a stranger gets the number
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if p[1] != wake {
		if err := unix.Dup3(p[1], wake, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(wake)
	}
	defer unix.Close(p[0])
	back := make(chan bool, 1)
	go func() { back <- e.Kick(0, Kicked) }()
	select {
	case <-back:
	case <-time.After(time.Second):
		t.Error("Kick after Close never returns")
	}
	var b [16]byte
	if n, _ := unix.Read(p[0], b[:]); n > 0 {
		t.Errorf("Kick after Close wrote %v into a descriptor of somebody else", b[:n])
	}
}

// Close with pairs left: are they closed, is done called?
func TestCloseEndsThePairsThatAreLeft(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	cl, craw, _ := newLeg(t, 0, true, nil)
	sl, _, _ := newLeg(t, 0, false, nil)
	ended := make(chan Stats, 1)
	e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(s Stats) { ended <- s })
	time.Sleep(10 * time.Millisecond)
	_ = e.Close()
	craw.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := craw.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the sockets stay open after Close")
	}
	select {
	case <-ended:
	case <-time.After(time.Second):
		t.Error("done is never called")
	}
}

// A pair rested; then its client half-closes; the backend has a minute to answer.
func TestASideMayAnswerAfterALongRest(t *testing.T) {
	bothEngines(t, func(t *testing.T, e Engine) {
		cl, craw, _ := newLeg(t, 0, true, nil)
		sl, sraw, _ := newLeg(t, 0, false, nil)
		ended := make(chan Stats, 1)
		e.Start(Pair{ID: 1, Client: cl, Server: sl, Idle: time.Hour}, func(s Stats) { ended <- s })
		time.Sleep(brief.client + brief.client/5)
		sraw.CloseWrite() // the backend has gone: the client has a while to leave
		began := time.Now()
		io.Copy(io.Discard, craw)
		select {
		case st := <-ended:
			t.Errorf("the client had %v of %v: %v", time.Since(began), brief.client, st.Ended)
		case <-time.After(brief.client / 2):
		}
		craw.Close()
		sraw.Close()
	})
}

// Is the backend told by close_notify that a kicked or idle session is over?
func TestAKickedBackendHearsCloseNotify(t *testing.T) {
	bothEngines(t, func(t *testing.T, e Engine) {
		cl, craw, _ := newLeg(t, 0, true, nil)
		sl, sraw, stls := newLeg(t, tls.VersionTLS13, false, nil)
		ended := make(chan Stats, 1)
		e.Start(Pair{ID: 1, Client: cl, Server: sl, Farewell: "* BYE\r\n"}, func(s Stats) { ended <- s })
		stls.Write([]byte("* hi\r\n"))
		io.ReadFull(craw, make([]byte, 6))
		e.Kick(1, Kicked)
		<-ended
		sraw.SetReadDeadline(time.Now().Add(time.Second))
		rest, err := io.ReadAll(sraw) // one record, or nothing
		if len(rest) == 0 {
			t.Errorf("the backend heard no close_notify (%v)", err)
		}
	})
}
