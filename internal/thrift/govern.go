// Package thrift keeps a process on as many processors as its work needs, and gives memory
// back when that is done.
package thrift

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	lookAtLoad = 100 * time.Millisecond
	lookAtRest = time.Second // when there is next to nothing to do
	atRest     = 0.05        // of a processor
	full       = 0.9         // of the processors that we use: more are needed
	spare      = 0.7         // of one less than we use: it would do …
	spareLooks = 20          // … if that lasts
)

// Govern keeps the program on as many processors as its work needs, at most on
// so many. While some of Go's have nothing to do, each event wakes a thread that
// looks for work in vain: a fifth of what a login costs. Whoever has set GOMAXPROCS
// has decided.
func Govern(ctx context.Context, most int) {
	if most == 1 || os.Getenv("GOMAXPROCS") != "" {
		return
	}
	defer runtime.GOMAXPROCS(most)
	g := governor{most: most, procs: most}
	began, cpu := time.Now(), usedCPU()
	for wait := lookAtLoad; ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		now, used := time.Now(), usedCPU()
		load := (used - cpu).Seconds() / now.Sub(began).Seconds()
		began, cpu = now, used
		if procs := g.procs; g.see(load) != procs {
			runtime.GOMAXPROCS(g.procs)
		}
		wait = lookAtLoad
		if load < atRest {
			wait = lookAtRest
		}
	}
}

// governor decides how many processors are needed.
type governor struct {
	most, procs int
	calm        int // looks at which one less would have done
}

// see takes a load, in processors, and returns how many are to be used.
func (g *governor) see(load float64) int {
	switch {
	case load > full*float64(g.procs):
		g.procs, g.calm = min(2*g.procs, g.most), 0
	case g.procs > 1 && load < spare*float64(g.procs-1):
		if g.calm++; g.calm >= spareLooks || load < atRest {
			g.procs, g.calm = g.procs-1, 0
		}
	default:
		g.calm = 0
	}
	return g.procs
}

// usedCPU is the processor time of this process so far.
func usedCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
