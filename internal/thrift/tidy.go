package thrift

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	lookForLitter = 2 * time.Second
	quietLoad     = 0.05     // of a processor
	muchLitter    = 8 << 20  // bytes that logins have left: about 500 of them
	someLitter    = 1 << 20  // worth it when there are no logins at all
	noLogin       = 64 << 10 // bytes in between: less than a few would leave
	bin           = 24 << 20 // bytes that they may leave before Go collects, however little there is besides
	mostPercent   = 1000
)

// TidyUp gives memory back when it is quiet after many logins. Go would keep as
// much again as sessions at rest hold, for a rush that may not come. In the rush it
// lets it lie for a while: with few sessions Go would collect after every few dozen
// logins, which is a twelfth of what they cost. Whoever has set GOGC has decided.
func TidyUp(ctx context.Context) {
	allow := allowance{decided: os.Getenv("GOGC") != ""}
	defer allow.set(100)
	allow.set(percent(0))
	tick := time.NewTicker(lookForLitter)
	defer tick.Stop()
	cpu, clean := usedCPU(), allocated()
	before := clean
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		used := usedCPU()
		quiet := (used - cpu).Seconds() < quietLoad*lookForLitter.Seconds()
		now := allocated()
		if litter := now - clean; quiet && (litter > muchLitter || litter > someLitter && now-before < noLogin) {
			debug.FreeOSMemory()
			clean, used = allocated(), usedCPU()
			now = clean
		}
		before = now
		allow.set(percent(read("/gc/heap/live:bytes")))
		cpu = used
	}
}

// allowance is how much garbage there may be, in percent of what is alive, before Go
// collects.
type allowance struct {
	decided bool // by somebody else
	now     int
}

// set changes it if it is another: all goroutines stand still for that.
func (a *allowance) set(percent int) {
	if !a.decided && percent != a.now {
		debug.SetGCPercent(percent)
		a.now = percent
	}
}

// percent is the allowance, in whole hundreds, where so much is alive.
func percent(alive uint64) int {
	return int(min(mostPercent, max(100, 100*(bin/max(1, alive)))))
}

// allocated is how many bytes the program has asked for so far.
func allocated() uint64 { return read("/gc/heap/allocs:bytes") }

func read(what string) uint64 {
	sample := []metrics.Sample{{Name: what}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
