//go:build linux && !cgo && (amd64 || arm64)

package spawn

import (
	"fmt"
	"os"
	"runtime/metrics"
	"strings"

	"golang.org/x/sys/unix"
)

// shed keeps from children what they have no use for: all of our memory that can be
// written. To copy it, and then to have each page copied again that either side writes to,
// was most of what a start cost; and a child is a user's before it is a program. What we
// get from the kernel later needs another call.
func shed() error {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode != "rw-p" {
			continue
		}
		if _, _, no := unix.RawSyscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTFORK); no != 0 {
			return fmt.Errorf("memory %s: %w", strings.TrimSpace(line), no)
		}
	}
	return nil
}

// mapped tells whether there is more memory than before: how much Go has had of the kernel.
// It gives none of the addresses back.
func mapped() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
