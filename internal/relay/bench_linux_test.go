package relay

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The peers of a benchmark are another process, so that what this one uses is the
// engine's. It is this test binary, told by its environment whom to be.
const peersEnv = "RELAY_BENCHMARK_PEERS"

// A load is what the peers do.
type load struct {
	Addr           string
	Client, Server int           // versions of TLS, or 0
	Piece          int           // bytes that the backend answers with
	Pause          time.Duration // between an answer and the next question
	N              int           // answers
}

func (l load) String() string {
	return fmt.Sprint(l.Addr, " ", l.Client, " ", l.Server, " ", l.Piece, " ", int64(l.Pause), " ", l.N)
}

// TestPeersOfABenchmark is the other process.
func TestPeersOfABenchmark(t *testing.T) {
	told := os.Getenv(peersEnv)
	if told == "" {
		t.Skip("runs in the process that a benchmark starts")
	}
	var l load
	if _, err := fmt.Sscan(told, &l.Addr, &l.Client, &l.Server, &l.Piece, (*int64)(&l.Pause), &l.N); err != nil {
		t.Fatal(err)
	}
	c, s := l.connect(t, l.Client, false), l.connect(t, l.Server, true)
	go l.answer(s)
	if err := l.ask(c); err != nil {
		t.Fatal(err)
	}
}

func (l load) connect(t testing.TB, version int, server bool) net.Conn {
	c, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	v := uint16(version)
	var tc *tls.Conn
	switch {
	case v == 0:
		return c
	case server:
		tc = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{selfSigned()}, MinVersion: v, MaxVersion: v})
	default:
		tc = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v})
	}
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}

// ask is the client: it asks, and hears all of the answer.
func (l load) ask(c net.Conn) error {
	heard := make([]byte, 256<<10)
	for range l.N {
		if _, err := c.Write([]byte("a1 FETCH 1 BODY.PEEK[]\r\n")); err != nil {
			return err
		}
		for left := l.Piece; left > 0; {
			n, err := c.Read(heard)
			if left -= n; err != nil {
				return err
			}
		}
		time.Sleep(l.Pause)
	}
	return c.Close()
}

// answer is the backend.
func (l load) answer(s net.Conn) {
	question, said := make([]byte, 24), make([]byte, l.Piece)
	for {
		if _, err := io.ReadFull(s, question); err != nil {
			_ = s.Close()
			return
		}
		_, _ = s.Write(said)
	}
}

// carry has an engine relay a load, and returns the processor time that it took.
func (l load) carry(b *testing.B, e Engine) time.Duration {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	l.Addr = ln.Addr().String()
	peers := exec.Command(os.Args[0], "-test.run=^TestPeersOfABenchmark$")
	peers.Env = append(os.Environ(), peersEnv+"="+l.String())
	peers.Stderr = os.Stderr
	if err := peers.Start(); err != nil {
		b.Fatal(err)
	}
	p := Pair{ID: 1, Client: benchLeg(b, ln, l.Client, true), Server: benchLeg(b, ln, l.Server, false)}
	ended := make(chan Stats, 1)
	b.ResetTimer()
	began := processorTime()
	e.Start(p, func(st Stats) { ended <- st })
	if st := <-ended; st.FromServer != uint64(l.N)*uint64(l.Piece) {
		b.Fatalf("relayed %d bytes of %d: %v", st.FromServer, l.N*l.Piece, st.Ended)
	}
	used := processorTime() - began
	b.StopTimer()
	if err := peers.Wait(); err != nil {
		b.Fatal(err)
	}
	return used
}

func benchLeg(b *testing.B, ln net.Listener, version int, server bool) Leg {
	c, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	l, v := Leg{Conn: c}, uint16(version)
	switch {
	case v == 0:
		return l
	case server:
		l.TLS = Server(c, &tls.Config{Certificates: []tls.Certificate{selfSigned()}, MinVersion: v, MaxVersion: v})
	default:
		l.TLS = Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v})
	}
	if err := l.TLS.Handshake(); err != nil {
		b.Fatal(err)
	}
	return l
}

func processorTime() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// engines are those to be compared.
func engines(b *testing.B, run func(b *testing.B, e Engine)) {
	b.Run("goroutine", func(b *testing.B) { run(b, NewGoroutines()) })
	b.Run("epoll", func(b *testing.B) {
		e, err := NewEpoll()
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		run(b, e)
	})
}

// BenchmarkBulk is what a byte costs when there are many.
func BenchmarkBulk(b *testing.B) {
	const piece = 4 << 20
	engines(b, func(b *testing.B, e Engine) {
		for _, w := range [][2]int{{0, 0}, {tls.VersionTLS13, 0}, {0, tls.VersionTLS13}, {tls.VersionTLS13, tls.VersionTLS13}} {
			b.Run(fmt.Sprintf("%x-%x", w[0], w[1]), func(b *testing.B) {
				b.SetBytes(piece)
				used := load{Client: w[0], Server: w[1], Piece: piece, N: b.N}.carry(b, e)
				b.ReportMetric(used.Seconds()/(float64(b.N)*piece/(1<<30)), "cpu-s/GB")
			})
		}
	})
}

// BenchmarkRoundTrip is what a question with a short answer costs, alone or in a row.
func BenchmarkRoundTrip(b *testing.B) {
	engines(b, func(b *testing.B, e Engine) {
		for _, pause := range []time.Duration{0, time.Millisecond} {
			for _, v := range []int{0, tls.VersionTLS13} {
				b.Run(fmt.Sprintf("pause=%v/%x", pause, v), func(b *testing.B) {
					b.ReportAllocs()
					used := load{Client: v, Piece: 100, Pause: pause, N: b.N}.carry(b, e)
					b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
				})
			}
		}
	})
}

// BenchmarkKick is what it takes to tell an engine to end a pair: thousands are, when
// a process ends.
func BenchmarkKick(b *testing.B) {
	engines(b, func(b *testing.B, e Engine) {
		b.ReportAllocs()
		const pairs = 1000
		for told := 0; told < b.N; told += pairs {
			b.StopTimer()
			far, ended := atRest(b, e, pairs)
			b.StartTimer()
			for id := range uint64(pairs) {
				e.Kick(id, Shutdown)
			}
			b.StopTimer()
			ended.Wait()
			for _, s := range far {
				_, _ = s.far[client].Close(), s.far[server].Close()
			}
			b.StartTimer()
		}
	})
}

// atRest starts pairs.
func atRest(b *testing.B, e Engine, pairs int) (all []sockets, ended *sync.WaitGroup) {
	ended = new(sync.WaitGroup)
	for id := range uint64(pairs) {
		s := connected(b)
		ended.Add(1)
		p := Pair{ID: id, Client: Leg{Conn: s.near[client]}, Server: Leg{Conn: s.near[server]}, Farewell: "* BYE\r\n"}
		e.Start(p, func(Stats) { ended.Done() })
		all = append(all, s)
	}
	return all, ended
}
