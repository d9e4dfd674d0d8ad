package spawn

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Package syscall starts a child that shares our memory until it executes its program,
// and this whole process waits for that. A child is the user's as soon as it has his
// uid, and then he may stop it: we would wait for ever, and everybody with us. Here a
// child has memory of its own, and only the one who has asked waits, for a time.

// forkTime is how long a child may take from its birth to the program's.
const forkTime = 5 * time.Second

var errStopped = errors.New("it does not run yet: its user has stopped it, or a file system hangs")

// usualSlack is what timers have in a program; the helper has more (see deprive).
const usualSlack = 50 * time.Microsecond

// A birth is all that a child needs to know, in the form of the kernel.
type birth struct {
	path       *byte
	argv, envv []*byte
	home       uintptr
	stdio, err uintptr     // its input and output, and its standard error
	files      unix.Rlimit // of descriptors: Go has raised ours
	able       bool        // whether it can become somebody else
	uid, gid   uintptr
	groups     []uint32 // the first is gid
}

// birthOf translates an order.
func (w *worker) birthOf(o order, write int) (b birth, err error) {
	if b.path, err = unix.BytePtrFromString(o.path); err == nil {
		b.argv, err = syscall.SlicePtrFromStrings(o.args)
	}
	if err == nil {
		b.envv, err = syscall.SlicePtrFromStrings(o.env)
	}
	if err == nil {
		err = unix.Getrlimit(unix.RLIMIT_NOFILE, &b.files)
	}
	b.files.Cur = w.policy.Limits.files(b.files.Max)
	b.home, b.stdio, b.err, b.able = uintptr(o.home.fd), o.stdio, uintptr(write), w.actor.able
	b.uid, b.gid = uintptr(o.request.UID), uintptr(o.request.GID)
	b.groups = w.groups.of(o.request.User, o.request.UID, o.request.GID)
	return b, err
}

// bear makes the child. It returns with the end of a pipe at which the child says why
// there is no program; it closes when there is.
func bear(b *birth) (pid int, says *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, nil, fmt.Errorf("pipe: %w", err)
	}
	defer func() { _ = unix.Close(p[1]) }()
	syscall.ForkLock.Lock()
	pid, no := fork(b, uintptr(p[1]))
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(b)
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

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// fork has a child, which does nothing but system calls: it has one thread, and nothing
// of Go's runtime works there. No variable may be new, and no function may be called that
// could need more of a stack. The order is: the user's power first, then what needs no
// more than that.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(b *birth, says uintptr) (int, syscall.Errno) {
	var (
		pid, groups uintptr
		no          syscall.Errno
	)
	beforeFork()
	pid, _, no = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if no != 0 || pid != 0 {
		afterFork()
		return int(pid), no
	}
	afterForkInChild()
	if _, _, no = syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0); no != 0 {
		goto failed
	}
	if b.able {
		groups = uintptr(unsafe.Pointer(&b.groups[0]))
		if _, _, no = syscall.RawSyscall(sysSetgroups, uintptr(len(b.groups)), groups, 0); no != 0 {
			goto failed
		}
		if _, _, no = syscall.RawSyscall(sysSetresgid, b.gid, b.gid, b.gid); no != 0 {
			goto failed
		}
		if _, _, no = syscall.RawSyscall(sysSetresuid, b.uid, b.uid, b.uid); no != 0 {
			goto failed
		}
	}
	if _, _, no = syscall.RawSyscall(syscall.SYS_FCHDIR, b.home, 0, 0); no != 0 {
		goto failed
	}
	if _, _, no = syscall.RawSyscall(syscall.SYS_DUP3, b.stdio, 0, 0); no != 0 {
		goto failed
	}
	if _, _, no = syscall.RawSyscall(syscall.SYS_DUP3, b.stdio, 1, 0); no != 0 {
		goto failed
	}
	if _, _, no = syscall.RawSyscall(syscall.SYS_DUP3, b.err, 2, 0); no != 0 {
		goto failed
	}
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(usualSlack), 0)
	if _, _, no = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&b.files)), 0, 0, 0); no != 0 {
		goto failed
	}
	_, _, no = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(b.path)), uintptr(unsafe.Pointer(&b.argv[0])), uintptr(unsafe.Pointer(&b.envv[0])))
failed:
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, says, uintptr(unsafe.Pointer(&no)), unsafe.Sizeof(no))
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 253, 0, 0)
	}
}
