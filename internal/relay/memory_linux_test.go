package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// BenchmarkAtRest is what a pair holds when nobody talks: this side of both its
// connections, and what the engine adds. The peers are in another process.
func BenchmarkAtRest(b *testing.B) {
	engines(b, func(b *testing.B, e Engine) {
		for _, v := range []int{0, tls.VersionTLS12, tls.VersionTLS13} {
			for _, talk := range []int{0, 100, 16 << 10, 256 << 10} {
				b.Run(fmt.Sprintf("%x/after=%d", v, talk), func(b *testing.B) { weigh(b, e, uint16(v), talk) })
			}
		}
	})
}

// weigh makes pairs whose clients have said so much, and counts the heap. What stays
// of the peers is their sockets; those of this side count only where the engine has
// not closed them.
func weigh(b *testing.B, e Engine, version uint16, talk int) {
	const pairs = 1000
	var before, after runtime.MemStats
	for b.Loop() {
		sockets := make([]sockets, pairs)
		measure(&before)
		for i := range sockets {
			sockets[i] = connected(b)
		}
		for i := range sockets {
			sockets[i].join(b, e, uint64(i), version, talk)
		}
		measure(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/pairs, "B/pair")
		b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/pairs, "stack-B/pair")
		for i := range sockets {
			e.Kick(uint64(i), Kicked)
			_, _ = sockets[i].far[client].Close(), sockets[i].far[server].Close()
		}
	}
}

// sockets are the four of a pair.
type sockets struct{ near, far [2]*net.TCPConn }

func connected(b *testing.B) (s sockets) {
	for side := range s.near {
		var err error
		if s.near[side], s.far[side], err = tcpPairQuiet(); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// join starts a pair, and has its client say something.
func (s *sockets) join(b *testing.B, e Engine, id uint64, version uint16, talk int) {
	p := Pair{ID: id, Client: Leg{Conn: s.near[client]}, Server: Leg{Conn: s.near[server]}}
	var far net.Conn = s.far[client]
	if version != 0 {
		p.Client.TLS = Server(s.near[client], serverConfig(version))
		t := tls.Client(far, clientConfig(version))
		shaken := make(chan error, 1)
		go func() { shaken <- p.Client.TLS.Handshake() }()
		if err := errors.Join(t.Handshake(), <-shaken); err != nil {
			b.Fatal(err)
		}
		greet(b, p.Client.TLS, t)
		far = t
	}
	s.near = [2]*net.TCPConn{}
	e.Start(p, func(Stats) {})
	go func() { _, _ = far.Write(make([]byte, talk)) }()
	if _, err := io.CopyN(io.Discard, s.far[server], int64(talk)); err != nil {
		b.Fatal(err)
	}
}

// greet has both sides say something, as they do before a login.
func greet(t testing.TB, near, far *tls.Conn) {
	t.Helper()
	for _, way := range [][2]*tls.Conn{{near, far}, {far, near}} {
		said := make(chan error, 1)
		go func() { _, err := way[0].Write([]byte("hello")); said <- err }()
		if _, err := io.ReadFull(way[1], make([]byte, 5)); errors.Join(err, <-said) != nil {
			t.Fatal("the peers cannot greet each other")
		}
	}
}

func measure(m *runtime.MemStats) {
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}

func serverConfig(version uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{selfSigned()}, MinVersion: version, MaxVersion: version}
}

func clientConfig(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, DynamicRecordSizingDisabled: true}
}
