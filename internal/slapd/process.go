package slapd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"usher/internal/need"
)

// guard is a shell that outlives the test's process. Its standard input ends with
// that process, however it dies: then the shell kills the server $1 and removes the
// folder $2. A line before the end means that the server has ended.
const guard = `read -r ended && exit; kill -s KILL "$1"; rm -rf -- "$2"`

// A process is one life of slapd.
type process struct {
	slapd *exec.Cmd
	guard *exec.Cmd
	leash io.WriteCloser // the guard's standard input
	ended chan struct{}  // closed when slapd has ended
}

// start runs the server and waits until it answers on every port.
func (s *Server) start() error {
	p, err := s.launch()
	if err != nil {
		return err
	}
	s.running = p
	return s.waitReady()
}

func (s *Server) launch() (*process, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	level := "stats"
	if s.options.Silent {
		level = "none"
	}
	urls := fmt.Sprintf("ldap://%s/ ldaps://%s/ %s/", s.Addr, s.TLSAddr, s.SocketURL())
	c := exec.Command(need.Program(s.t, "slapd"), "-d", level, "-f", filepath.Join(s.Dir, "slapd.conf"), "-h", urls)
	c.Dir = s.Dir
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = s.user.attributes()
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &process{slapd: c, ended: make(chan struct{})}
	go p.wait()
	if err := p.watch(s.Dir); err != nil {
		_ = p.signal(syscall.SIGKILL)
		<-p.ended
		return nil, fmt.Errorf("start its guard: %w", err)
	}
	return p, nil
}

// wait is slapd's goroutine; it ends with it.
func (p *process) wait() {
	_ = p.slapd.Wait() // how it ended is in the log
	close(p.ended)
}

func (p *process) watch(dir string) (err error) {
	p.guard = exec.Command("/bin/sh", "-c", guard, "guard", fmt.Sprint(p.slapd.Process.Pid), dir)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if p.leash, err = p.guard.StdinPipe(); err != nil {
		return err
	}
	return p.guard.Start()
}

func (p *process) signal(sig syscall.Signal) error { return p.slapd.Process.Signal(sig) }

// kill ends slapd at once, also a frozen one, and lets the guard go.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
	_, _ = io.WriteString(p.leash, "ended\n")
	_ = p.leash.Close()
	_ = p.guard.Wait()
}

// Stop ends the server as kill -9 would; connections to it are then refused. It may be
// called twice.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	s.running.kill()
	s.running = nil
}

// Restart stops the server and starts it again on the same ports, with the same entries.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart slapd: %v\n%s", err, s.LogText())
	}
}

// Freeze makes the server silent: the kernel still accepts connections for it, but
// nobody answers.
func (s *Server) Freeze() {
	s.t.Helper()
	if err := s.running.signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("freeze slapd: %v", err)
	}
	for range 1000 { // its threads stop one after the other, and one might still answer
		if s.running.stopped() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("freeze slapd: it does not stop")
}

// stopped tells whether each thread has stopped: its state stands behind its name.
func (p *process) stopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.slapd.Process.Pid))
	return !slices.ContainsFunc(threads, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && !strings.Contains(string(text), ") T ")
	})
}

// Thaw ends a Freeze.
func (s *Server) Thaw() {
	s.t.Helper()
	if err := s.running.signal(syscall.SIGCONT); err != nil {
		s.t.Fatalf("thaw slapd: %v", err)
	}
}

func (s *Server) waitReady() error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := s.answers()
		if err == nil {
			return nil
		}
		select {
		case <-s.running.ended:
			return errors.New("it ended at once")
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
}

// answers tells whether each port is open, and somebody speaks LDAP there.
func (s *Server) answers() error {
	for _, at := range []struct{ network, addr string }{{"tcp", s.TLSAddr}, {"unix", s.Socket}} {
		c, err := net.Dial(at.network, at.addr)
		if err != nil {
			return err
		}
		c.Close()
	}
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"); err != nil { // an anonymous bind
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// A runner is whom slapd runs as: never root.
type runner struct {
	uid, gid uint32
	other    bool // not who runs the test
}

func chooseRunner() (r runner) {
	if os.Geteuid() != 0 {
		return r
	}
	u, err := user.Lookup("openldap")
	if err != nil {
		return runner{uid: 65534, gid: 65534, other: true} // nobody
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return runner{uint32(uid), uint32(gid), true}
}

func (r runner) attributes() *syscall.SysProcAttr {
	if !r.other {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: r.uid, Gid: r.gid}}
}

func (s *Server) giveAll() error {
	if !s.user.other {
		return nil
	}
	return filepath.WalkDir(s.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(s.user.uid), int(s.user.gid))
	})
}
