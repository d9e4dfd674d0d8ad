package thrift

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// WatchRarely has Go's watchdog thread look around once in a millisecond, not 50 times,
// while anything goes on: a tenth of what a round trip costs, and of a login more. Other
// timers are as much later, at most. It must be called before there is work. Where there is
// a C library, as under the race detector, nothing changes (ENOTSUP).
func WatchRarely() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0); errno != 0 {
		return errno
	}
	return nil
}
