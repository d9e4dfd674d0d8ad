package relay

import (
	"bytes"
	"crypto/tls"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// States in which a hang-up could be told on and on: how much CPU do they take?
// And what does a pair at rest hold?
func TestStuckPairsBurnNoProcessor(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cpu := func() time.Duration {
		var ru syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	big := bytes.Repeat([]byte("x"), 16<<20)
	for _, v := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		for what := range 6 {
			cl, craw, ctls := newLeg(t, v, true, nil)
			sl, sraw, _ := newLeg(t, 0, false, nil)
			ended := make(chan Stats, 1)
			e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(s Stats) { ended <- s })
			var c interface {
				Write([]byte) (int, error)
				CloseWrite() error
			} = craw
			if ctls != nil {
				c = ctls
			}
			stop := time.Now().Add(500 * time.Millisecond)
			craw.SetWriteDeadline(stop)
			sraw.SetWriteDeadline(stop)
			switch what {
			case 0: // both stuck
				go c.Write(big)
				sraw.Write(big)
			case 1: // the client is stuck, the backend is reset
				sraw.Write(big)
				sraw.SetLinger(0)
				sraw.Close()
			case 2: // the backend is stuck, the client is reset
				c.Write(big)
				craw.SetLinger(0)
				craw.Close()
			case 3: // the client is done talking, and stuck
				c.CloseWrite()
				sraw.Write(big)
			case 4: // the backend is done talking, and stuck
				sraw.CloseWrite()
				c.Write(big)
			case 5: // the client has closed, the backend says nothing
				craw.Close()
			}
			time.Sleep(100 * time.Millisecond)
			c0 := cpu()
			time.Sleep(400 * time.Millisecond)
			if used := cpu() - c0; used > 60*time.Millisecond {
				t.Errorf("%x: state %d uses %v of CPU in 400ms", v, what, used)
			}
			e.Kick(1, Kicked)
			select {
			case st := <-ended:
				t.Log(v, what, st.Ended)
			case <-time.After(2 * time.Second):
				t.Error("no end", v, what)
			}
			craw.Close()
			sraw.Close()
		}
	}
	var m0, m1 runtime.MemStats
	legs := [][2]Leg{}
	for range 200 {
		cl, _, _ := newLeg(t, tls.VersionTLS13, true, nil)
		sl, _, _ := newLeg(t, 0, false, nil)
		legs = append(legs, [2]Leg{cl, sl})
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m0)
	g0 := runtime.NumGoroutine()
	for i, l := range legs {
		e.Start(Pair{ID: uint64(i + 10), Client: l[0], Server: l[1]}, func(Stats) {})
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m1)
	t.Logf("a pair at rest: %d bytes more than its conns, %d goroutines more", (int64(m1.HeapAlloc)-int64(m0.HeapAlloc))/200, runtime.NumGoroutine()-g0)
	for i := range legs {
		e.Kick(uint64(i+10), Kicked)
	}
}
