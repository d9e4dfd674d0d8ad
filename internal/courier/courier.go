// Package courier runs a real authdaemond of Courier for the length of a test. Only
// tests import it.
//
// Read Start first. Which modules it has, and their rc files, is up to the test;
// scripts/aside has unpacked all of them.
package courier

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

// Options say what kind of authdaemond a test wants.
type Options struct {
	Modules []string          // as in authmodulelist: "authuserdb", "authpipe", "authldap", "authmysql", "authpgsql"
	Userdb  map[string]string // name → "uid=1000|home=/home/ann|options=mailhost=a|systempw=$1$…"
	Files   map[string]string // in etc/courier: "authldaprc" → its text; "authProg" is the program of authpipe
	Env     []string          // more environment, such as DEFAULTOPTIONS=…
	Daemons int               // how many processes answer; 0: 5
}

// A Server is a running authdaemond. Its methods are for the test's own goroutine,
// since they end the test when they fail.
type Server struct {
	Dir    string // its working directory, with etc/courier and run/courier
	Socket string

	t       testing.TB
	env     []string
	running *exec.Cmd // nil while stopped
	log     bytes.Buffer
}

// Start runs an authdaemond until the test ends. It skips a test that cannot have it,
// except in CI.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	dir, env := need.CourierPlace(t)
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "run/courier/authdaemon/socket"), t: t, env: append(env, o.Env...)}
	if o.Daemons == 0 {
		o.Daemons = 5
	}
	s.Write("authdaemonrc", fmt.Sprintf("authmodulelist=\"%s\"\ndaemons=%d\n", strings.Join(o.Modules, " "), o.Daemons))
	for name, text := range o.Files {
		s.Write(name, text)
	}
	if o.Userdb != nil {
		s.Userdb(o.Userdb)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("authdaemond said:\n%s", s.log.String())
		}
	})
	s.Restart()
	return s
}

// Write puts a file into etc/courier. A program of authpipe may be executed.
func (s *Server) Write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, "etc/courier", name), []byte(text), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// Userdb writes the whole userdb, and makes of it what authdaemond reads.
func (s *Server) Userdb(records map[string]string) {
	s.t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&text, "%s\t%s\n", name, records[name])
	}
	s.Write("userdb", text.String())
	s.Run("usr/sbin/makeuserdb")
}

// Run runs one of Courier's programs, such as usr/sbin/userdb, and returns what it says.
func (s *Server) Run(program string, args ...string) string {
	s.t.Helper()
	c := exec.Command(program, args...)
	c.Dir, c.Env = s.Dir, s.env
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// Stop ends authdaemond as kill -9 would. It may be called twice.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	_ = s.signal(syscall.SIGKILL)
	_ = s.running.Wait()
	s.running = nil
}

// signal reaches its children too: they share its process group.
func (s *Server) signal(sig syscall.Signal) error { return syscall.Kill(-s.running.Process.Pid, sig) }

// Restart stops authdaemond and starts it again at the same place.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	c := exec.Command("usr/lib/courier/courier-authlib/authdaemond")
	c.Dir, c.Env, c.Stderr = s.Dir, s.env, &s.log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // that takes its children along
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.running = c
	for range 500 {
		if nc, err := net.Dial("unix", s.Socket); err == nil {
			nc.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("authdaemond does not listen")
}

// Pause makes authdaemond hang: the kernel still accepts connections for it, but
// nobody answers.
func (s *Server) Pause() {
	s.t.Helper()
	if err := s.signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if s.standsStill() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("authdaemond does not stand still")
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.t.Helper()
	if err := s.signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// standsStill tells whether all of its processes are stopped: proc(5), /proc/pid/stat.
func (s *Server) standsStill() bool {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // state, parent, group
		if len(f) > 2 && f[2] == strconv.Itoa(s.running.Process.Pid) && f[0] != "T" {
			return false
		}
	}
	return true
}
