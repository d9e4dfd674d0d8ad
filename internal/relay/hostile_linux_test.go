package relay

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
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
		l.TLS, far = tls.Server(NewSocket(a), sc), tls.Client(b, cc)
	} else {
		l.TLS, far = tls.Client(NewSocket(a), cc), tls.Server(b, sc)
	}
	e := make(chan error, 1)
	go func() { e <- l.TLS.Handshake() }()
	if err := errors.Join(far.Handshake(), <-e); err != nil {
		t.Fatal(err)
	}
	return l, b, far
}

// rec13 writes TLS 1.3 records by hand: KeyUpdates, records of one byte, fragments.
type rec13 struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func label(secret []byte, l string, n int) []byte {
	l = "tls13 " + l
	info := append([]byte{byte(n >> 8), byte(n), byte(len(l))}, l...)
	info = append(info, 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

func newRec13(secret []byte) *rec13 {
	blk, _ := aes.NewCipher(label(secret, "key", 16))
	g, _ := cipher.NewGCM(blk)
	return &rec13{secret: secret, aead: g, iv: label(secret, "iv", 12)}
}

func (r *rec13) seal(typ byte, data []byte) []byte {
	nonce := bytes.Clone(r.iv)
	for i := range 8 {
		nonce[11-i] ^= byte(r.seq >> (8 * i))
	}
	r.seq++
	in := append(bytes.Clone(data), typ)
	n := len(in) + 16
	hdr := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return r.aead.Seal(bytes.Clone(hdr), nonce, in, hdr)
}

func (r *rec13) keyUpdate(request byte) []byte {
	b := r.seal(22, []byte{24, 0, 0, 1, request})
	*r = *newRec13(label(r.secret, "traffic upd", 32))
	return b
}

func secretOf(t testing.TB, log, which string) []byte {
	for l := range strings.SplitSeq(log, "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[0] == which {
			b, _ := hex.DecodeString(f[2])
			if len(b) != 32 {
				t.Skip("not an AES-128 suite")
			}
			return b
		}
	}
	t.Fatal("no secret")
	return nil
}

func bothEngines(t *testing.T, f func(t *testing.T, e Engine)) {
	t.Run("goroutine", func(t *testing.T) { f(t, NewGoroutines()) })
	t.Run("epoll", func(t *testing.T) {
		e, err := NewEpoll()
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(t, e)
	})
}

// A client that never reads and asks for key updates: what do the answers cost?
func TestAPeerThatNeverReadsCannotGrowMemoryByKeyUpdates(t *testing.T) {
	bothEngines(t, func(t *testing.T, e Engine) {
		var log bytes.Buffer
		cl, craw, _ := newLeg(t, tls.VersionTLS13, true, &log)
		sl, sraw, _ := newLeg(t, 0, false, nil)
		_ = cl.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		_ = craw.SetReadBuffer(16 << 10)
		r := newRec13(secretOf(t, log.String(), "CLIENT_TRAFFIC_SECRET_0"))
		ended := make(chan Stats, 1)
		go io.Copy(io.Discard, sraw)
		runtime.GC()
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(s Stats) { ended <- s })
		sent, blocked := 0, false
		var b []byte
		for sent < 64<<20 {
			b = b[:0]
			for len(b) < 64<<10 {
				for range 15 {
					b = append(b, r.keyUpdate(1)...)
				}
				b = append(b, r.seal(23, []byte("x"))...)
			}
			_ = craw.SetWriteDeadline(time.Now().Add(3 * time.Second))
			n, err := craw.Write(b)
			sent += n
			if err != nil {
				blocked = true
				break
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&m1)
		t.Logf("sent %d KB, slowed down: %v, heap +%d KB", sent>>10, blocked, (int64(m1.HeapAlloc)-int64(m0.HeapAlloc))>>10)
		if !blocked {
			t.Errorf("a client that reads nothing could make the engine hold %d KB", (int64(m1.HeapAlloc)-int64(m0.HeapAlloc))>>10)
		}
		craw.SetLinger(0)
		craw.Close()
		sraw.Close()
		<-ended
	})
}

// Key updates both ways in normal talk, fragmented handshake messages, records of one byte.
func TestKeyUpdatesAndFragmentsPass(t *testing.T) {
	bothEngines(t, func(t *testing.T, e Engine) {
		var log bytes.Buffer
		cl, craw, far := newLeg(t, tls.VersionTLS13, true, &log)
		sl, sraw, _ := newLeg(t, 0, false, nil)
		r := newRec13(secretOf(t, log.String(), "CLIENT_TRAFFIC_SECRET_0"))
		ended := make(chan Stats, 1)
		e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(s Stats) { ended <- s })
		var want, wire []byte
		for i := range 3000 {
			c := byte('a' + i%26)
			want = append(want, c)
			wire = append(wire, r.seal(23, []byte{c})...)
			switch i % 7 {
			case 3:
				req := byte(0)
				if i%700 == 10 {
					req = 1 // few: the far end ends after 16 of them without data
				}
				wire = append(wire, r.keyUpdate(req)...)
			case 5: // in two records
				wire = append(wire, r.seal(22, []byte{24, 0})...)
				wire = append(wire, r.seal(22, []byte{0, 1, 0})...)
				*r = *newRec13(label(r.secret, "traffic upd", 32))
			}
		}
		go func() { // in odd pieces
			for i := 0; len(wire) > 0; i++ {
				n := min(len(wire), 1+(i*i)%97)
				craw.Write(wire[:n])
				wire = wire[n:]
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		got := make([]byte, len(want))
		sraw.SetDeadline(time.Now().Add(20 * time.Second))
		if n, err := io.ReadFull(sraw, got); err != nil || !bytes.Equal(got, want) {
			t.Fatal(n, err)
		}
		sraw.Write(bytes.Repeat([]byte("answer\n"), 20000)) // under keys that were updated
		far.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(far, make([]byte, 140000)); err != nil {
			t.Fatal(err)
		}
		craw.Close()
		sraw.Close()
		<-ended
	})
}

// How often does one busy pair stand in the loop's orders?
func TestABusyPairHasOneTurnAtATime(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cl, craw, _ := newLeg(t, 0, true, nil)
	sl, sraw, stls := newLeg(t, tls.VersionTLS13, false, nil)
	_ = cl.Conn.(*net.TCPConn).SetWriteBuffer(8 << 20)
	_ = sl.Conn.(*net.TCPConn).SetReadBuffer(32 << 20)
	_ = sraw.SetWriteBuffer(32 << 20)
	ended := make(chan Stats, 1)
	e.Start(Pair{ID: 0, Client: cl, Server: sl}, func(s Stats) { ended <- s })
	go func() {
		b := make([]byte, 1<<20)
		for {
			if _, err := stls.Write(b); err != nil {
				return
			}
		}
	}()
	go io.Copy(io.Discard, craw)
	most, l := 0, e.loops[0]
	var worst time.Duration
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Microsecond) {
		l.mu.Lock()
		most = max(most, len(l.told))
		l.mu.Unlock()
		if time.Now().UnixNano()%20 == 0 {
			began := time.Now()
			e.Kick(2*uint64(len(e.loops)), Kicked)
			worst = max(worst, time.Since(began))
		}
	}
	t.Logf("most orders waiting at once for one pair: %d; slowest Kick %v", most, worst)
	craw.Close()
	sraw.Close()
	<-ended
	if most > 3 {
		t.Errorf("one pair queued itself %d times", most)
	}
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
		time.Sleep(6 * time.Second) // > usual.client
		sraw.CloseWrite()           // the backend has gone: the client has 5 s to leave
		began := time.Now()
		io.Copy(io.Discard, craw)
		select {
		case st := <-ended:
			t.Errorf("the client had %v of %v: %v", time.Since(began), usual.client, st.Ended)
		case <-time.After(time.Second):
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
