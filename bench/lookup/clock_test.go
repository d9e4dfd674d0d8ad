//go:build linux

package lookup

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// used is the processor time of this process, all threads, user and system.
func used() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic("clock_gettime: " + err.Error())
	}
	return time.Duration(t.Nano())
}

// A cost is what a call takes.
type cost struct {
	nanos  float64 // of processors
	allocs float64
}

// costOf calls f n times in each round. What the machine does besides does not count.
func costOf(rounds, n int, f func(i int)) cost {
	var nanos, allocs []float64
	var before, after runtime.MemStats
	for range rounds {
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := used()
		for i := range n {
			f(i)
		}
		took := used() - began
		runtime.ReadMemStats(&after)
		nanos = append(nanos, float64(took)/float64(n))
		allocs = append(allocs, float64((after.Mallocs-before.Mallocs)/uint64(n))) // whole ones, as go test counts them
	}
	return cost{median(nanos), median(allocs)}
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
