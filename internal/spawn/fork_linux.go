package spawn

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Package syscall starts a child that shares our memory until it executes its program,
// and this whole process waits for that. A child is the user's as soon as it has his
// uid, and then he may stop it: we would wait for ever, and everybody with us. Here a
// child has memory of its own, as little as can be (see shed), and only the one who has
// asked waits, for a time.

// forkTime is how long a child may take from its birth to the program's.
const forkTime = 5 * time.Second

var errStopped = errors.New("it does not run yet: its user has stopped it, or a file system hangs")

// usualSlack is what timers have in a program; the helper has more (see deprive).
const usualSlack = 50 * time.Microsecond

// bear makes the child. It returns with the end of a pipe at which the child says why
// there is no program; it closes when there is.
func bear(e *errand) (pid int, says *os.File, err error) {
	syscall.ForkLock.Lock() // no other child may have this one's end of the pipe, and be stopped
	defer syscall.ForkLock.Unlock()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, nil, fmt.Errorf("pipe: %w", err)
	}
	pid, no := fork(lay(e, e.calls...), e.no, uintptr(p[1]))
	_ = unix.Close(p[1])
	if no != 0 {
		_ = unix.Close(p[0])
		return 0, nil, fmt.Errorf("fork: %w", no)
	}
	_ = unix.SetNonblock(p[0], true)
	return pid, os.NewFile(uintptr(p[0]), "birth"), nil
}

// delivered waits until there is a program, or the child has said why there is none.
func delivered(says *os.File) error {
	defer func() { _ = says.Close() }()
	_ = says.SetReadDeadline(time.Now().Add(forkTime))
	var no syscall.Errno
	n, err := says.Read((*[unsafe.Sizeof(no)]byte)(unsafe.Pointer(&no))[:])
	switch {
	case n > 0:
		return no
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("after %s %w", forkTime, errStopped)
	}
	return nil // also if it was killed: that is its end, as any other
}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// fork has a child that does an errand. Until it returns no function may be called that
// could need more of a stack.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(calls *call, no *syscall.Errno, says uintptr) (int, syscall.Errno) {
	beforeFork()
	pid := forkAndRun(calls, no, says)
	afterFork()
	if pid < 0 {
		return 0, syscall.Errno(-pid)
	}
	return pid, 0
}
