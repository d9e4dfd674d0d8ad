package steward

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidden are the system calls by which a process comes to what it was not given: files,
// connections, programs, other processes, and corners of the kernel where few have looked.
// What Go's runtime needs differs from version to version, so these are named and not those.
var forbidden = []uint32{
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2,
	unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_TRUNCATE, unix.SYS_UTIMENSAT, unix.SYS_SETXATTR, unix.SYS_CHDIR, unix.SYS_CHROOT,
	unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_IO_URING_SETUP, // it does any of these unseen
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
}

// Where the kernel shows the filter a system call: struct seccomp_data.
const (
	callAt     = 0
	archAt     = 4
	firstArgAt = 16 // its lower half, on machines whose bytes begin with the lowest
)

// filter is what the kernel asks of each system call. A signal may be sent to a thread of
// our own: Go's scheduler does.
func filter(pid int) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(what uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: what, Jt: yes, Jf: no}
	}
	ret := func(what uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what}
	}
	no := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	f := []unix.SockFilter{
		load(archAt), is(arch, 1, 0), no, // by another way in, other calls have these numbers
		load(callAt),
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: foreign, Jf: 1},
		no,
	}
	for _, calls := range [][]uint32{forbidden, forbiddenHere} {
		for _, nr := range calls {
			f = append(f, is(nr, 0, 1), no)
		}
	}
	return append(f, is(unix.SYS_TGKILL, 0, 3), load(firstArgAt), is(uint32(pid), 1, 0), no, ret(unix.SECCOMP_RET_ALLOW))
}

// nothingNew has the kernel refuse what is forbidden.
func nothingNew() error {
	if arch == 0 {
		return nil // nobody has tried it on this kind of machine
	}
	return ask(filter(os.Getpid()))
}

// ask has the kernel ask a filter from here on, in all threads, those of cgo too, and for
// good. No thread gains privileges any more.
func ask(f []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	other, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return nil
	case errno != 0:
		return fmt.Errorf("seccomp: %w", errno)
	case other != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", other)
	}
	return nil
}
