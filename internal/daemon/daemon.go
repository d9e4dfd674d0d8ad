// Package daemon runs a server of somebody else's for the length of a test: it
// starts it as an unprivileged user, stops it, freezes it with all its processes,
// and starts it again at the same place. Only tests import it.
//
// Whatever happens to the test, the server does not outlive it: see guard.go.
package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Daemon is a server that a test runs. Its methods are for the test's own
// goroutine, since they end the test when they fail.
type Daemon struct {
	Name  string         // for messages
	User  string         // whom it runs as if the test is root; else it is the test's own user
	Quit  syscall.Signal // ends it quickly
	Ready func() error   // asks it something; nil: it is there

	Dir string // its folder, with its log; removed at the end of the test

	t       testing.TB
	command []string // to start it
	running *life    // nil while stopped
}

// A life of a daemon is from one start to the next stop.
type life struct {
	main   *exec.Cmd
	guard  *guard
	ended  chan struct{} // closed when the process has ended
	frozen bool
}

// New makes the folder of a server. The server is not started.
func New(t testing.TB, d Daemon) *Daemon {
	t.Helper()
	// Not t.TempDir: a unix socket's path has at most 107 bytes, and another user must be able to enter.
	dir, err := os.MkdirTemp("/tmp", d.Name)
	if err != nil {
		t.Fatal(err)
	}
	d.t, d.Dir = t, dir
	t.Cleanup(d.end)
	if err := errors.Join(os.Chmod(dir, 0o755), d.Give(dir)); err != nil {
		t.Fatal(err)
	}
	return &d
}

// Path is the path of a file in the folder.
func (d *Daemon) Path(name string) string { return filepath.Join(d.Dir, name) }

// Command is a command that runs as the server's user.
func (d *Daemon) Command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = d.Dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.Dir, "LC_ALL=C.UTF-8", "TZ=UTC"}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: d.credential()}
	return c
}

// Run runs a command to its end, such as one that makes a database.
func (d *Daemon) Run(name string, args ...string) {
	d.t.Helper()
	if out, err := d.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %s: %v\n%s", d.Name, name, err, out)
	}
}

// Start starts the server and waits until it is ready. Later ones may leave out the
// command.
func (d *Daemon) Start(command ...string) {
	d.t.Helper()
	if len(command) > 0 {
		d.command = command
	}
	if err := d.launch(); err != nil {
		d.t.Fatalf("start %s: %v\n%s", d.Name, err, d.log())
	}
}

func (d *Daemon) launch() error {
	out, err := os.OpenFile(d.Path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own descriptor
	l := &life{main: d.Command(d.command[0], d.command[1:]...), ended: make(chan struct{})}
	l.main.Stdout, l.main.Stderr = out, out
	if err := l.main.Start(); err != nil {
		return err
	}
	go l.wait()
	d.running = l
	if l.guard, err = watch(l.main.Process.Pid, d.Dir); err != nil {
		return err
	}
	return d.waitReady()
}

// wait is the goroutine of a life; it ends with it.
func (l *life) wait() {
	_ = l.main.Wait() // how it ended is in the log
	close(l.ended)
}

func (d *Daemon) waitReady() error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := d.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-d.running.ended:
			return errors.New("it ended at once")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
}

// Stop ends the server and all its connections. It may be called twice.
func (d *Daemon) Stop() {
	d.t.Helper()
	if d.running == nil {
		return
	}
	l := d.running
	d.running = nil
	if err := l.stop(d.Quit); err != nil {
		d.t.Errorf("stop %s: %v", d.Name, err)
	}
}

func (l *life) stop(quit syscall.Signal) error {
	if l.frozen {
		signalTree(l.main.Process.Pid, syscall.SIGCONT)
	}
	_ = l.main.Process.Signal(quit)
	select {
	case <-l.ended:
	case <-time.After(10 * time.Second):
		signalTree(l.main.Process.Pid, syscall.SIGKILL)
		<-l.ended
	}
	return l.guard.dismiss()
}

// Freeze makes the server hang: the kernel still accepts connections for it, but
// nobody answers.
func (d *Daemon) Freeze() {
	d.t.Helper()
	d.running.frozen = true
	pid := d.running.main.Process.Pid
	for range 500 {
		signalTree(pid, syscall.SIGSTOP)
		if isStopped(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatalf("%s does not freeze", d.Name)
}

// Thaw ends a Freeze.
func (d *Daemon) Thaw() {
	if d.running == nil {
		return
	}
	d.running.frozen = false
	signalTree(d.running.main.Process.Pid, syscall.SIGCONT)
}

func (d *Daemon) end() {
	d.Stop()
	if d.t.Failed() {
		d.t.Logf("%s said at last:\n%s", d.Name, d.log())
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		d.t.Errorf("remove the folder of %s: %v", d.Name, err)
	}
}

// log is the end of what the server has logged.
func (d *Daemon) log() string {
	text, err := os.ReadFile(d.Path("log"))
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-50):], "")
}
