package thrift

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	lookForLitter = 2 * time.Second
	quietLoad     = 0.05    // of a processor
	muchLitter    = 8 << 20 // bytes that logins have left: about 500 of them
)

// TidyUp gives memory back when it is quiet after many logins. Go would keep as
// much again as sessions at rest hold, for a rush that may not come.
func TidyUp(ctx context.Context) {
	tick := time.NewTicker(lookForLitter)
	defer tick.Stop()
	cpu, clean := usedCPU(), allocated()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		used := usedCPU()
		quiet := (used - cpu).Seconds() < quietLoad*lookForLitter.Seconds()
		if quiet && allocated()-clean > muchLitter {
			debug.FreeOSMemory()
			clean = allocated()
			used = usedCPU()
		}
		cpu = used
	}
}

// allocated is how many bytes the program has asked for so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
