//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child is its user's before it is his program, and has descriptors of the helper yet.
// He may end it, but not look into it.
func TestWhoHasAChildCannotLookIntoIt(t *testing.T) {
	needRoot(t)
	if text, err := os.ReadFile("/proc/sys/fs/suid_dumpable"); err == nil && strings.TrimSpace(string(text)) == "1" {
		t.Skip("fs.suid_dumpable=1 lets users trace what was root's")
	}
	pid := halfBorn(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{"SPAWN_TEST_ROLE=tracer", "SPAWN_TEST_PID=" + strconv.Itoa(pid)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ann, Gid: ann}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// trace is the user: he tries what the kernel lets him do to what is his own.
func trace() error {
	pid, err := strconv.Atoi(os.Getenv("SPAWN_TEST_PID"))
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, 0); err != nil {
		return fmt.Errorf("it is not his: %w", err)
	}
	dir := fmt.Sprintf("/proc/%d/", pid)
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	for name, do := range map[string]func() error{
		"attach":  func() error { return unix.PtraceAttach(pid) },
		"seize":   func() error { return unix.PtraceSeize(pid) },
		"memory":  func() error { f, err := os.OpenFile(dir+"mem", os.O_RDWR, 0); _ = f; return err },
		"map":     func() error { b, err := os.ReadFile(dir + "maps"); _ = b; return err },
		"listing": func() error { _, err := os.ReadDir(dir + "fd"); return err },
		"take":    func() error { _, err := unix.PidfdGetfd(handle, 0, 0); return err },
	} {
		if err := do(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}

// halfBorn is a child that has become ann, and goes no further.
func halfBorn(t *testing.T) (pid int) {
	t.Helper()
	e, err := newErrand(0)
	must(t, err)
	defer e.free()
	e.resetSignals()
	e.then(sysSetresgid, ann, ann, ann)
	e.then(sysSetresuid, ann, ann, ann)
	e.then(unix.SYS_PPOLL, 0, 0, 0, 0)
	pid, says, err := bear(e)
	must(t, err)
	t.Cleanup(func() {
		_ = says.Close()
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	})
	for range 1000 {
		if uids := strings.Fields(status(t, pid, "Uid")); slices.Contains(uids, strconv.Itoa(ann)) {
			return pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the child has not become ann")
	return 0
}
