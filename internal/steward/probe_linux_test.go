package steward

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// probes are what a steward that was taken over would try.
var probes = []struct {
	name string
	try  func(dir string) error
}{
	{"read a file", func(dir string) error { _, err := os.ReadFile(filepath.Join(dir, "file")); return err }},
	{"write a file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) }},
	{"make a file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) }},
	{"make a folder", func(dir string) error { return os.Mkdir(filepath.Join(dir, "folder"), 0o700) }},
	{"take a file away", func(dir string) error { return os.Remove(filepath.Join(dir, "file")) }},
	{"rename a file", func(dir string) error { return os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "other")) }},
	{"open a file to others", func(dir string) error { return os.Chmod(filepath.Join(dir, "file"), 0o666) }},
	{"look at another process", func(string) error { _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid())); return err }},
	{"connect by TCP", func(string) error { _, err := net.Dial("tcp", os.Getenv("PROBE_TCP")); return err }},
	{"send by UDP", func(string) error { _, err := net.Dial("udp", os.Getenv("PROBE_TCP")); return err }},
	{"take a port", func(string) error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
	{"connect to a unix socket", func(dir string) error { _, err := net.Dial("unix", filepath.Join(dir, "socket")); return err }},
	{"run a program", func(string) error { return exec.Command("/bin/true").Run() }},
	{"send a signal", func(string) error { return syscall.Kill(os.Getppid(), 0) }},
	{"send a signal to a thread", func(string) error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) }},
	{"trace a process", func(string) error { return unix.PtraceAttach(os.Getppid()) }},
	{"do it unseen", func(string) error {
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		if errno == unix.EFAULT { // it would have been done
			return nil
		}
		return errno
	}},
}

// cage is what the unit forbids where our drop-in is missing.
func cage() error {
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: callAt}}
	for _, nr := range []uint32{unix.SYS_CAPSET, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_SECCOMP} {
		f = append(f,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	return ask(append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}))
}

// Probe is the life of a process that has given all up, and tries them.
func Probe(dir string) int {
	if dir == "caged" {
		if err := errors.Join(cage(), harden()); err != nil {
			fmt.Println("harden:", err)
			return 1
		}
		return 0
	}
	if err := harden(); err != nil {
		fmt.Println("harden:", err)
		return 1
	}
	tried := make(chan struct{})
	go func() { // in some thread
		defer close(tried)
		for _, p := range probes {
			if err := p.try(dir); err == nil {
				fmt.Println("it can", p.name)
			}
		}
	}()
	<-tried
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); d != 0 || err != nil {
		fmt.Println("its memory can be dumped:", d, err)
	}
	fmt.Println("tried")
	return 0
}

// What the sandbox is for, tried from within. Without it all of that can be done.
func TestAStewardCannotReachWhatItWasNotGiven(t *testing.T) {
	if arch == 0 {
		t.Skip("there is no filter for this kind of machine")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	local, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	t.Setenv("PROBE_TCP", tcp.Addr().String())
	for _, p := range probes {
		switch p.name {
		case "take a file away", "rename a file", "trace a process", "do it unseen": // they would be in the way of others, or the kernel has none
		default:
			if err := p.try(dir); err != nil {
				t.Errorf("%s: this test shows nothing: %v", p.name, err)
			}
		}
	}
	_ = os.Remove(filepath.Join(dir, "new"))
	_ = os.Remove(filepath.Join(dir, "folder"))
	out, err := exec.Command("/proc/self/exe", "probe", dir).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "tried" {
		t.Errorf("%v\n%s", err, out)
	}
}

// A unit of systemd whose filter forbids what the sandbox is made of does not keep the relay
// process from its work, and it does not pass over it in silence.
func TestAStewardSaysWhatItsSandboxLacks(t *testing.T) {
	out, err := exec.Command("/proc/self/exe", "probe", "caged").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "its sandbox has a hole: landlock") || !strings.Contains(string(out), "its sandbox has a hole: seccomp") {
		t.Errorf("%v\n%s", err, out)
	}
}
