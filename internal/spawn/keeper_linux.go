package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The descriptors that the two processes of the helper are born with.
const (
	sharedFD = 3 // the helper's end of the conversation
	policyFD = 4 // the sealed policy; the worker's only
)

// How soon a worker that died is started again: at once, but ever more slowly if
// each dies at once.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 5 * time.Second
	longLife   = 10 * time.Second
)

// Main is "usher helper": it returns the exit status. "usher serve" starts it.
func Main(args []string) int {
	var err error
	switch {
	case len(args) == 0:
		err = keep()
	case len(args) == 2 && args[0] == "worker":
		err = work(args[1] == "0")
	default:
		err = errors.New("it has no arguments: usher serve starts it")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "usher helper:", err)
		return 1
	}
	return 0
}

// keep is the keeper: it takes the policy, seals it, and sees to it that there is a
// worker for as long as anybody may ask.
func keep() error {
	quiet()
	if err := inherit(sharedFD); err != nil {
		return err
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	policy, sealed, err := hearPolicy()
	if err != nil {
		return err
	}
	// What programs leave behind comes to us, not to a first process that may not
	// care, in a container.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("subreaper: %w", err)
	}
	if err := policy.Limits.apply(); err != nil {
		return err
	}
	pause := time.Duration(0)
	for n := 0; ; n++ {
		began := time.Now()
		pid, err := startWorker(sealed, n)
		if err != nil {
			return err
		}
		if ordered := await(pid); ordered {
			return nil
		}
		if time.Since(began) > longLife {
			pause = 0
		}
		time.Sleep(pause)
		pause = min(max(2*pause, firstPause), lastPause)
	}
}

// quiet is for both: little memory, and no end but that of those who ask. In what is
// started all signals do what they do by default.
func quiet() {
	name, _ := unix.BytePtrFromString("usher-helper") // in ps; else it would be "exe"
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	debug.SetGCPercent(50)
	unix.Umask(0o077)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		signal.Notify(make(chan os.Signal, 1), s)
	}
	for s := syscall.Signal(1); s < 65; s++ {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	for s := uintptr(32); s < 35; s++ { // of which Go wants to know nothing; make and others leave them ignored
		resetIfIgnored(s)
	}
}

// resetIfIgnored has a signal do what it does by default: sigaction(2), of which only the
// first word matters, the handler.
func resetIfIgnored(sig uintptr) {
	const setSize = 8
	var now, byDefault [8]uintptr
	if _, _, no := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&now)), setSize, 0, 0); no == 0 && now[0] == 1 {
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, setSize, 0, 0)
	}
}

// inherit takes a descriptor that this process was born with, and that no program may
// have.
func inherit(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return fmt.Errorf("descriptor %d is missing: usher serve starts the helper, it is no command", fd)
	}
	unix.CloseOnExec(fd)
	return nil
}

// closeOnExec keeps to ourselves what whoever started usher has left open, by
// mistake: what Go opens is so already.
func closeOnExec() error {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("is /proc mounted? The helper needs it: %w", err)
	}
	for _, e := range all {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > syscall.Stderr {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// hearPolicy takes the first message, and puts it into a file in memory that nobody
// can change any more.
func hearPolicy() (p *Policy, sealed int, err error) {
	b := make([]byte, maxPolicy+1)
	n, _, _, _, err := unix.Recvmsg(sharedFD, b, nil, 0)
	if err != nil || n == 0 {
		return nil, 0, errors.Join(errors.New("there was no policy"), err)
	}
	if p, err = parsePolicy(b[:n]); err != nil {
		return nil, 0, err
	}
	sealed, err = unix.MemfdCreate("policy", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		_, err = unix.Write(sealed, b[:n])
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(sealed), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("seal the policy: %w", err)
	}
	return p, sealed, nil
}

func parsePolicy(b []byte) (*Policy, error) {
	var p Policy
	if err := decode(b, &p); err != nil {
		return nil, fmt.Errorf("the policy is %w", err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &p, nil
}

// unsealed reads the policy in the worker.
func unsealed() (*Policy, error) {
	b := make([]byte, maxPolicy)
	n, err := unix.Pread(policyFD, b, 0)
	if err != nil {
		return nil, fmt.Errorf("the policy: %w", err)
	}
	return parsePolicy(b[:n])
}

// apply sets the limits that programs inherit through the worker. Go raises its own
// number of descriptors, and gives its children what it was.
func (l Limits) apply() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	files.Cur = l.files(files.Max)
	err := errors.Join(
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files),
		limit(unix.RLIMIT_CORE, 0), // what is in a mail program's memory is not for files
	)
	if l.Processes > 0 {
		err = errors.Join(err, limit(unix.RLIMIT_NPROC, l.Processes))
	}
	if l.Memory > 0 {
		err = errors.Join(err, limit(unix.RLIMIT_DATA, l.Memory))
	}
	return err
}

// files is the number of descriptors of a program.
func (l Limits) files(most uint64) uint64 {
	if l.Files == 0 {
		return min(most, 1024)
	}
	return min(most, l.Files)
}

// limit lowers a limit for good. One that is lower already stays.
func limit(which int, most uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(which, &now); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	most = min(most, now.Max)
	if err := unix.Setrlimit(which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	return nil
}

// startWorker starts the n-th worker. It is this very program, even if another has
// taken its place on the disk since.
func startWorker(sealed, n int) (pid int, err error) {
	pid, err = syscall.ForkExec("/proc/self/exe", []string{"usher", "helper", "worker", strconv.Itoa(n)}, &syscall.ProcAttr{
		Env:   []string{"GOMAXPROCS=" + "1"},
		Files: []uintptr{0, 1, 2, sharedFD, uintptr(sealed)},
	})
	if err != nil {
		return 0, fmt.Errorf("start the worker: %w", err)
	}
	return pid, nil
}

// await waits for the worker, and buries whatever else has come to us. It tells
// whether the worker has ended because nobody is left who could ask.
func await(worker int) (ordered bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return false
		case pid == worker:
			return status.Exited() && status.ExitStatus() == 0
		}
	}
}
