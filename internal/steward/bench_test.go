//go:build linux

package steward_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// BenchmarkALogin is what a session costs that comes and goes, 8 at a time, in both
// processes together.
func BenchmarkALogin(b *testing.B) {
	local, err := relay.NewEpoll()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	for _, way := range []string{"epoll", "steward"} {
		b.Run(way, func(b *testing.B) {
			e := relay.Engine(local)
			pid := 0
			if way == "steward" {
				p := newPlaceFor(b)
				one := p.usher(nil)
				one.Lead()
				e, pid = one, int(one.PID())
			}
			before := cpuOf(0) + cpuOf(pid)
			room := make(chan struct{}, 8)
			for i := range b.N {
				room <- struct{}{}
				go func() {
					c, cs := connected(b)
					s, ss := connected(b)
					e.Start(relay.Pair{ID: uint64(i + 1), Client: relay.Leg{Conn: relay.FromDescriptor(c)}, Server: relay.Leg{Conn: relay.FromDescriptor(s)}, Note: make([]byte, 100)}, func(relay.Stats) { <-room })
					_, _ = unix.Close(cs), unix.Close(ss)
				}()
			}
			for range cap(room) {
				room <- struct{}{}
			}
			b.ReportMetric(float64(cpuOf(0)+cpuOf(pid)-before)/float64(b.N)/1000, "µs-cpu/op")
			if pid > 0 {
				b.ReportMetric(float64(cpuOf(pid))/float64(b.N)/1000, "µs-steward/op")
			}
		})
	}
}

func connected(b *testing.B) (near, far int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	return fds[0], fds[1]
}

// cpuOf is in nanoseconds; of 0, this process.
func cpuOf(pid int) int64 {
	if pid == 0 {
		pid = os.Getpid()
	}
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		panic(fmt.Sprint(pid, err))
	}
	return t.Nano()
}
