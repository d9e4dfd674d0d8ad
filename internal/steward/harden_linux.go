package steward

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"usher/internal/thrift"
)

// harden gives up what a steward does not need: everything but the descriptors that it
// has. What a kernel does not know is left out. So is what a filter of whoever has started
// us forbids, as that of a systemd unit without our drop-in: this is said, and missing is
// what keeps a steward that was taken over from what its user may.
func harden() error {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0) // who may not: then it is killed like others
	_ = time.Now().Local().String()                                 // looks for the time zone: later there are no files
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	for _, p := range []func() error{thrift.WatchRarely, noNewPrivileges, noCapabilities, noFiles, nothingNew} {
		err := p()
		switch {
		case errors.Is(err, syscall.EPERM):
			fmt.Fprintf(os.Stderr, "usher relay: its sandbox has a hole: %v: is relay-process.conf beside the unit?\n", err)
		case err != nil && !errors.Is(err, syscall.ENOTSUP):
			return err
		}
	}
	return nil
}

// closeOthers closes what whoever started us has left open by mistake: a port would stay
// bound for as long as sessions last. What Go has opened is closed by exec.
func closeOthers() error {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("is /proc mounted? %w", err)
	}
	for _, e := range all {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= inherited {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// all makes a system call on all threads. With cgo, as under the race detector, that cannot be
// done: ENOTSUP.
func all(trap, a, b uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a, b, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func noNewPrivileges() error {
	if err := all(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

// noCapabilities gives up those that there are, to use, to have and to pass on.
func noCapabilities() error {
	if err := all(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := all(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(&none[0]))); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// noFiles closes all files to this process, and on newer kernels all ports (Landlock).
// Where there is none, what the user usher may is what it may.
func noFiles() error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.EPERM:
		return fmt.Errorf("landlock: %w", errno)
	default:
		return nil
	}
	rules := unix.LandlockRulesetAttr{Handled_access_fs: accessOf(int(version))}
	size := unsafe.Sizeof(rules.Handled_access_fs)
	if version >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(rules.Handled_access_net)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return nil
	}
	defer func() { _ = unix.Close(int(fd)) }()
	if err := all(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

// accessOf is all that a version of Landlock knows of what can be done to files.
func accessOf(version int) uint64 {
	access := uint64(1<<13 - 1) // from EXECUTE to MAKE_SYM
	for v, right := range map[int]uint64{2: unix.LANDLOCK_ACCESS_FS_REFER, 3: unix.LANDLOCK_ACCESS_FS_TRUNCATE, 5: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV} {
		if version >= v {
			access |= right
		}
	}
	return access
}
