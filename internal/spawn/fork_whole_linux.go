//go:build linux && !amd64 && !arm64

package spawn

import (
	"runtime"
	"syscall"
	"unsafe"
)

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// forkAndRun is what it is in assembler for other processors. No variable may be new in
// the child, and no function may be called that could need more of a stack.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
func forkAndRun(calls *call, no *syscall.Errno, says uintptr) (pid int) {
	var one, two, r uintptr = uintptr(syscall.SIGCHLD), 0, 0
	if runtime.GOARCH == "s390x" {
		one, two = two, one
	}
	r, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, one, two, 0, 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	if r != 0 {
		return int(r)
	}
	afterForkInChild() // signals do what they do by default, and may come
	for errno == 0 {
		_, _, errno = syscall.RawSyscall6(calls.number, calls.args[0], calls.args[1], calls.args[2], calls.args[3], 0, 0)
		calls = (*call)(unsafe.Add(unsafe.Pointer(calls), unsafe.Sizeof(call{})))
	}
	*no = errno
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, says, uintptr(unsafe.Pointer(no)), unsafe.Sizeof(errno))
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 253, 0, 0)
	}
}

// resetSignals has nothing to do: the runtime does it.
func (*errand) resetSignals() {}
