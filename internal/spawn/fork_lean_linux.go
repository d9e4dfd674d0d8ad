//go:build linux && (amd64 || arm64)

package spawn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// forkAndRun has a child that makes the calls, the last of which is exec. If one fails,
// the child writes why to no, says so, and ends. A pid that is negative is why there is no
// child. It is in assembler, as Go code needs a stack, which is in the memory that shed
// keeps from children.
//
//go:noescape
func forkAndRun(calls *call, no *syscall.Errno, says uintptr) (pid int)

// resetSignals has all signals do in the child what they do by default, and lets them
// come: those that Go handles must not come where there is no Go.
func (e *errand) resetSignals() {
	const most, setSize = 64, 8
	none := at(lay(e, [8]uintptr{})) // no handler, and no signal
	for sig := syscall.Signal(1); sig <= most; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			e.then(unix.SYS_RT_SIGACTION, uintptr(sig), none, 0, setSize)
		}
	}
	e.then(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, none, 0, setSize)
}
