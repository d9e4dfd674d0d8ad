package relay

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tagged is an endless stream that is made of one session's token only.
func tagged(token uint64, n int) []byte {
	b := make([]byte, n&^7)
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], token)
	}
	return b
}

// holds reads to the end and returns how much came, and whether a byte was not of this token.
func holds(r io.Reader, token uint64, lazy bool) (total int, bad bool) {
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], token)
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b[:1+rand.IntN(len(b))])
		for i := range n {
			if b[i] != want[(total+i)%8] {
				return total, true
			}
		}
		total += n
		if err != nil {
			return total, false
		}
		if lazy && rand.IntN(4) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// watched is how many pairs are filed.
func watched(w *wheel) (n int) {
	for _, pr := range w.lists {
		for ; pr != nil; pr = pr.next {
			n++
		}
	}
	return n
}

func openFiles() int { l, _ := os.ReadDir("/proc/self/fd"); return len(l) }

// Thousands of short sessions, every byte of which names its session, that are
// closed, reset, idle and kicked at random moments, from many goroutines, while
// other descriptors come and go.
func TestNoByteReachesAnotherSession(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles()
	const long = 4 * time.Second
	end := time.Now().Add(long)
	var next, sessions, dones, lost, bytesMoved, kicksHit atomic.Int64
	var wg sync.WaitGroup
	kinds := []uint16{0, 0, 0, 0, 0, 0, tls.VersionTLS12, tls.VersionTLS13}
	session := func() {
		id := uint64(next.Add(1))
		cv, sv := kinds[rand.IntN(len(kinds))], kinds[rand.IntN(len(kinds))]
		cl, craw, ctls := newLegQuiet(cv, true)
		sl, sraw, stls := newLegQuiet(sv, false)
		if cl.Conn == nil || sl.Conn == nil {
			return
		}
		sessions.Add(1)
		if rand.IntN(3) == 0 { // easily stuck
			_ = cl.Conn.(*net.TCPConn).SetWriteBuffer(8 << 10)
			_ = craw.SetReadBuffer(8 << 10)
		}
		if rand.IntN(3) == 0 {
			_ = sl.Conn.(*net.TCPConn).SetWriteBuffer(8 << 10)
			_ = sraw.SetReadBuffer(8 << 10)
		}
		var c, s net.Conn = craw, sraw
		if ctls != nil {
			c = ctls
		}
		if stls != nil {
			s = stls
		}
		dl := time.Now().Add(40 * time.Second)
		craw.SetDeadline(dl)
		sraw.SetDeadline(dl)
		up, down := tagged(id<<8|1, 8+rand.IntN(200<<10)), tagged(id<<8|2, 8+rand.IntN(200<<10))
		p := Pair{ID: id, Client: cl, Server: sl}
		if rand.IntN(4) == 0 {
			p.Idle = time.Duration(1+rand.IntN(20)) * time.Millisecond
		}
		k := 8 * rand.IntN(100)
		if k > 0 && k < len(up) && rand.IntN(2) == 0 {
			p.Client.Pending = up[:k:k]
		} else {
			k = 0
		}
		how := rand.IntN(8)
		if p.Idle != 0 && how == 0 {
			how = 1
		}
		var calls atomic.Int32
		done := make(chan Stats, 1)
		e.Start(p, func(st Stats) {
			dones.Add(1)
			if calls.Add(1) > 1 {
				t.Error("done twice")
			}
			e.Kick(id, Kicked) // must not hang
			done <- st
		})
		var w sync.WaitGroup
		var gotUp, gotDown int
		var bad1, bad2 bool
		w.Go(func() {
			gotUp, bad1 = holds(s, id<<8|1, how%2 == 0)
			if how == 3 {
				sraw.Close() // a backend whose client has left leaves
			}
		})
		w.Go(func() { gotDown, bad2 = holds(c, id<<8|2, how%3 == 0) })
		said := make(chan bool, 2)
		w.Go(func() {
			_, _ = c.Write(up[k:])
			if how == 0 {
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
			}
			said <- true
		})
		w.Go(func() {
			_, _ = s.Write(down)
			if how == 0 {
				_ = s.(interface{ CloseWrite() error }).CloseWrite()
			}
			said <- true
		})
		pause := time.Duration(rand.IntN(3000)) * time.Microsecond
		switch how {
		case 0: // all is heard
			<-said
			<-said
		case 1:
			time.Sleep(pause)
			craw.SetLinger(0)
			craw.Close()
		case 2:
			time.Sleep(pause)
			sraw.SetLinger(0)
			sraw.Close()
		case 3:
			time.Sleep(pause)
			c.Close()
		case 4:
			time.Sleep(pause)
			s.Close()
		case 5:
			time.Sleep(pause)
			for range 3 {
				go func() {
					if e.Kick(id, Kicked) {
						kicksHit.Add(1)
					}
				}()
			}
		case 6: // both at once
			time.Sleep(pause)
			craw.SetLinger(0)
			sraw.SetLinger(0)
			go craw.Close()
			go sraw.Close()
			go e.Kick(id, Shutdown)
		case 7:
			time.Sleep(pause)
			c.(interface{ CloseWrite() error }).CloseWrite()
			time.Sleep(pause)
			e.Kick(id, Shutdown)
		}
		var st Stats
		select {
		case st = <-done:
		case <-time.After(35 * time.Second):
			t.Errorf("session %d (%x/%x, how %d) does not end", id, cv, sv, how)
			e.Kick(id, Kicked)
			return
		}
		if how == 0 {
			w.Wait()
		}
		craw.Close()
		sraw.Close()
		w.Wait()
		if bad1 || bad2 {
			t.Errorf("session %d (%x/%x, how %d) heard bytes of another", id, cv, sv, how)
		}
		if how == 0 && (gotUp != len(up) || gotDown != len(down) || int(st.FromClient) != len(up) || int(st.FromServer) != len(down)) {
			lost.Add(1)
			t.Errorf("session %d (%x/%x): %d/%d up, %d/%d down, %+v", id, cv, sv, gotUp, len(up), gotDown, len(down), st)
		}
		if gotUp > int(st.FromClient) || gotDown > int(st.FromServer) {
			t.Errorf("session %d: more heard than counted: %d %d %+v", id, gotUp, gotDown, st)
		}
		bytesMoved.Add(int64(gotUp + gotDown))
	}
	for range 48 {
		wg.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				session()
			}
		})
	}
	for range 2 { // strangers: whoever gets a number that was a leg's
		wg.Go(func() {
			for time.Now().Before(end) {
				a, b, err := tcpPairQuiet()
				if err != nil {
					continue
				}
				a.Write([]byte("stranger"))
				b.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
				got, err := io.ReadAll(b)
				if string(got) != "stranger" {
					t.Errorf("a stranger's connection holds %.40q %v", got, err)
				}
				a.Close()
				b.Close()
				r, w, err := os.Pipe()
				if err == nil {
					r.SetReadDeadline(time.Now().Add(time.Millisecond))
					if n, _ := r.Read(make([]byte, 8)); n > 0 {
						t.Error("a stranger's pipe holds bytes")
					}
					r.Close()
					w.Close()
				}
			}
		})
	}
	wg.Add(1)
	go func() { // kicks of anybody at any time
		defer wg.Done()
		for time.Now().Before(end) {
			e.Kick(rand.Uint64N(uint64(next.Load())+1000)+1<<40, Kicked)
			time.Sleep(50 * time.Microsecond)
		}
	}()
	wg.Wait()
	for i := 0; i < 200 && openFiles() > before; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d sessions, %d ended, %d MB, %d kicks hit, fds %d before, %d after", sessions.Load(), dones.Load(), bytesMoved.Load()>>20, kicksHit.Load(), before, openFiles())
	if sessions.Load() != dones.Load() {
		t.Error("sessions without done")
	}
	for i, l := range e.loops {
		ch := make(chan [4]int)
		l.tell(func() { ch <- [4]int{len(l.pairs), len(l.slots), len(l.free) + len(l.freed), watched(&l.wheel)} })
		v := <-ch
		t.Logf("loop %d: pairs %d slots %d free %d idles %d", i, v[0], v[1], v[2], v[3])
		if v[0] != 0 || v[1] != v[2] || v[3] != 0 {
			t.Error("something stays in the loop")
		}
	}
	_ = e.Close()
	if after := openFiles(); after > before {
		t.Errorf("fds %d -> %d", before, after)
	}
}

var (
	revLn   = sync.OnceValue(func() net.Listener { l, _ := net.Listen("tcp", "127.0.0.1:0"); return l })
	revDial sync.Mutex
)

func tcpPairQuiet() (*net.TCPConn, *net.TCPConn, error) {
	revDial.Lock()
	defer revDial.Unlock()
	ln := revLn()
	d, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	a, err := ln.Accept()
	if err != nil {
		return nil, nil, err
	}
	return a.(*net.TCPConn), d.(*net.TCPConn), nil
}

func newLegQuiet(version uint16, nearServer bool) (Leg, *net.TCPConn, *tls.Conn) {
	a, b, err := tcpPairQuiet()
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return Leg{}, nil, nil
	}
	if version == 0 {
		return Leg{Conn: a}, b, nil
	}
	sc := &tls.Config{Certificates: []tls.Certificate{selfSigned()}, MinVersion: version, MaxVersion: version}
	cc := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	l := Leg{Conn: a}
	var far *tls.Conn
	if nearServer {
		l.TLS, far = tls.Server(NewSocket(a), sc), tls.Client(b, cc)
	} else {
		l.TLS, far = tls.Client(NewSocket(a), cc), tls.Server(b, sc)
	}
	e := make(chan error, 1)
	go func() { e <- l.TLS.Handshake() }()
	err = far.Handshake()
	if err2 := <-e; err != nil || err2 != nil {
		a.Close()
		b.Close()
		return Leg{}, nil, nil
	}
	return l, b, far
}
