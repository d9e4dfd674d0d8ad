package relay

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
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
	c := &crowd{T: t, engine: e.Hurry(), until: time.Now().Add(2 * time.Second)}
	before := openFiles()
	var all sync.WaitGroup
	for range 48 {
		all.Go(func() { c.during(c.session) })
	}
	for range 2 {
		all.Go(func() { c.during(c.stranger) })
	}
	all.Go(func() { c.during(c.kickAnybody) })
	all.Wait()
	t.Logf("%d sessions, %d ended", c.sessions.Load(), c.dones.Load())
	if c.sessions.Load() != c.dones.Load() {
		t.Error("sessions without done")
	}
	for _, l := range e.loops {
		c.isEmpty(l)
	}
	_ = e.Close()
	if after := openFiles(); after > before {
		t.Errorf("%d descriptors were open before, %d are now", before, after)
	}
}

// A crowd is many sessions of one engine.
type crowd struct {
	*testing.T
	engine   *Epoll
	until    time.Time
	next     atomic.Uint64
	sessions atomic.Int64
	dones    atomic.Int64
}

func (c *crowd) during(do func()) {
	for time.Now().Before(c.until) && !c.Failed() {
		do()
	}
}

// stranger is whoever gets a number that was a leg's.
func (c *crowd) stranger() {
	a, b, err := tcpPairQuiet()
	if err != nil {
		return
	}
	defer a.Close()
	defer b.Close()
	a.Write([]byte("stranger"))
	time.Sleep(time.Millisecond) // for whoever still thinks the number is a leg's
	_ = a.CloseWrite()
	b.SetReadDeadline(time.Now().Add(time.Minute))
	if got, err := io.ReadAll(b); string(got) != "stranger" {
		c.Errorf("a stranger's connection holds %.40q %v", got, err)
	}
}

// kickAnybody kicks pairs that never were.
func (c *crowd) kickAnybody() {
	c.engine.Kick(rand.Uint64N(c.next.Load()+1000)+1<<40, Kicked)
	time.Sleep(50 * time.Microsecond)
}

// isEmpty holds that nothing is left in a loop.
func (c *crowd) isEmpty(l *loop) {
	type state struct{ known, pairs, keyed, watched, lent int }
	seen := make(chan state)
	l.tell(func() {
		l.sweep()
		seen <- state{len(l.known), l.pairs.Len(), l.keyed.Len(), watched(&l.wheel), l.pipes.lent}
	})
	if s := <-seen; s != (state{}) {
		c.Errorf("something stays in the loop: %+v", s)
	}
}

// A guest is one session of a crowd.
type guest struct {
	*crowd
	id                   uint64
	how                  int // it ends
	pair                 Pair
	clientRaw, serverRaw *net.TCPConn
	client, server       net.Conn // TLS, if it is
	up, down             []byte   // what is said
	ahead                int      // of up, said before Start
	done                 chan Stats
	ends                 atomic.Int32
}

// The ways in which a guest ends.
const (
	allHeard = iota
	clientReset
	serverReset
	clientCloses
	serverCloses
	kickedOften
	allAtOnce
	closedAndKicked
	manners
)

func (c *crowd) session() {
	g := c.newGuest()
	if g == nil {
		return
	}
	c.sessions.Add(1)
	c.engine.Start(g.pair, g.ended)
	var heard heard
	var listening sync.WaitGroup
	listening.Go(func() {
		heard.up, heard.upBad = holds(g.server, g.id<<8|1, g.how%2 == 0)
		if g.how == clientCloses {
			g.serverRaw.Close() // a backend whose client has left leaves
		}
	})
	listening.Go(func() { heard.down, heard.downBad = holds(g.client, g.id<<8|2, g.how%3 == 0) })
	g.talk(&listening)
	select {
	case st := <-g.done:
		if g.how == allHeard {
			listening.Wait()
		}
		g.clientRaw.Close()
		g.serverRaw.Close()
		listening.Wait()
		g.check(heard, st)
	case <-time.After(35 * time.Second):
		c.Errorf("session %d (%d) does not end", g.id, g.how)
		c.engine.Kick(g.id, Kicked)
	}
}

func (c *crowd) newGuest() *guest {
	kinds := []uint16{0, 0, 0, 0, 0, 0, tls.VersionTLS12, tls.VersionTLS13}
	g := &guest{crowd: c, id: c.next.Add(1), how: rand.IntN(manners), done: make(chan Stats, 1)}
	g.pair.ID = g.id
	g.pair.Client, g.clientRaw, g.client = newLegQuiet(kinds[rand.IntN(len(kinds))], true)
	g.pair.Server, g.serverRaw, g.server = newLegQuiet(kinds[rand.IntN(len(kinds))], false)
	if g.pair.Client.Conn == nil || g.pair.Server.Conn == nil {
		return nil
	}
	for _, side := range [][2]any{{g.pair.Client.Conn, g.clientRaw}, {g.pair.Server.Conn, g.serverRaw}} {
		if rand.IntN(3) == 0 { // easily stuck
			_ = side[0].(*net.TCPConn).SetWriteBuffer(8 << 10)
			_ = side[1].(*net.TCPConn).SetReadBuffer(8 << 10)
		}
	}
	late := time.Now().Add(40 * time.Second)
	_, _ = g.clientRaw.SetDeadline(late), g.serverRaw.SetDeadline(late)
	g.up, g.down = tagged(g.id<<8|1, 8+rand.IntN(200<<10)), tagged(g.id<<8|2, 8+rand.IntN(200<<10))
	if n := 8 * rand.IntN(100); n < len(g.up) && rand.IntN(2) == 0 {
		g.ahead, g.pair.Client.Pending = n, g.up[:n:n]
	}
	if g.how != allHeard && rand.IntN(4) == 0 {
		g.pair.Idle = time.Duration(1+rand.IntN(20)) * time.Millisecond
	}
	return g
}

func (g *guest) ended(st Stats) {
	g.dones.Add(1)
	if g.ends.Add(1) > 1 {
		g.Error("done twice")
	}
	g.engine.Kick(g.id, Kicked) // must not hang
	g.done <- st
}

type closeWriter interface{ CloseWrite() error }

// talk has both sides talk, and ends them.
func (g *guest) talk(all *sync.WaitGroup) {
	var said sync.WaitGroup
	for c, words := range map[net.Conn][]byte{g.client: g.up[g.ahead:], g.server: g.down} {
		said.Add(1)
		all.Go(func() {
			defer said.Done()
			_, _ = c.Write(words)
			if g.how == allHeard {
				_ = c.(closeWriter).CloseWrite()
			}
		})
	}
	if g.how == allHeard {
		said.Wait()
		return
	}
	pause := time.Duration(rand.IntN(3000)) * time.Microsecond
	time.Sleep(pause)
	g.end(pause)
}

func (g *guest) end(pause time.Duration) {
	switch g.how {
	case clientReset:
		_, _ = g.clientRaw.SetLinger(0), g.clientRaw.Close()
	case serverReset:
		_, _ = g.serverRaw.SetLinger(0), g.serverRaw.Close()
	case clientCloses:
		g.client.Close()
	case serverCloses:
		g.server.Close()
	case kickedOften:
		for range 3 {
			go g.engine.Kick(g.id, Kicked)
		}
	case allAtOnce:
		_, _ = g.clientRaw.SetLinger(0), g.serverRaw.SetLinger(0)
		go g.clientRaw.Close()
		go g.serverRaw.Close()
		go g.engine.Kick(g.id, Shutdown)
	case closedAndKicked:
		_ = g.client.(closeWriter).CloseWrite()
		time.Sleep(pause)
		g.engine.Kick(g.id, Shutdown)
	}
}

// heard is what arrived: how much, and whether a byte was another session's.
type heard struct {
	up, down       int
	upBad, downBad bool
}

func (g *guest) check(h heard, st Stats) {
	if h.upBad || h.downBad {
		g.Errorf("session %d (%d) heard bytes of another", g.id, g.how)
	}
	said := heard{up: len(g.up), down: len(g.down)}
	if g.how == allHeard && (h != said || int(st.FromClient) != said.up || int(st.FromServer) != said.down) {
		g.Errorf("session %d: heard %+v of %+v, counted %+v", g.id, h, said, st)
	}
	if h.up > int(st.FromClient) || h.down > int(st.FromServer) {
		g.Errorf("session %d: more heard than counted: %+v, %+v", g.id, h, st)
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

// newLegQuiet returns no leg if the handshake fails.
func newLegQuiet(version uint16, nearServer bool) (near Leg, raw *net.TCPConn, far net.Conn) {
	a, b, err := tcpPairQuiet()
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return Leg{}, nil, nil
	}
	if version == 0 {
		return Leg{Conn: a}, b, b
	}
	nearTLS, farTLS := Client(a, clientConfig(version)), tls.Server(b, serverConfig(version))
	if nearServer {
		nearTLS, farTLS = Server(a, serverConfig(version)), tls.Client(b, clientConfig(version))
	}
	shaken := make(chan error, 1)
	go func() { shaken <- nearTLS.Handshake() }()
	if errors.Join(farTLS.Handshake(), <-shaken) != nil {
		_, _ = a.Close(), b.Close()
		return Leg{}, nil, nil
	}
	return Leg{Conn: a, TLS: nearTLS}, b, farTLS
}
