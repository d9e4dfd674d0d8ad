package dovecot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"usher/internal/need"
)

// guard is a shell that outlives the test's process. Its standard input ends
// with that process, however it dies: then the shell kills the group $1 and
// removes the folder $2. A line before the end means that the folder stays.
const guard = `read -r keep; kill -s KILL -- "-$1"; test -n "$keep" || rm -rf -- "$2"`

// A process is one life of Dovecot: a process group, led by the master.
type process struct {
	master *exec.Cmd
	guard  *exec.Cmd
	leash  io.WriteCloser // the guard's standard input
	ended  chan struct{}  // closed when the master has ended
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
	program := need.Program(s.t, "dovecot")
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	if err := s.give(s.Log); err != nil {
		return nil, err
	}
	c := exec.Command(program, "-F", "-c", s.configFile())
	c.Dir = s.Dir
	c.Stdout, c.Stderr = log, log                 // it complains there until it has read log_path
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // no LISTEN_FDS or NOTIFY_SOCKET of ours
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.user.credential()}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &process{master: c, ended: make(chan struct{})}
	go p.wait()
	if err := p.watch(s.Dir); err != nil {
		_ = p.signal(syscall.SIGKILL)
		<-p.ended
		return nil, fmt.Errorf("start its guard: %w", err)
	}
	return p, nil
}

// wait is the master's goroutine; it ends with the master.
func (p *process) wait() {
	_ = p.master.Wait() // how it ended is in the log
	close(p.ended)
}

func (p *process) watch(dir string) (err error) {
	p.guard = exec.Command("/bin/sh", "-c", guard, "guard", fmt.Sprint(p.master.Process.Pid), dir)
	p.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if p.leash, err = p.guard.StdinPipe(); err != nil {
		return err
	}
	return p.guard.Start()
}

// signal reaches the master and all its children: they share its process group.
func (p *process) signal(sig syscall.Signal) error {
	return syscall.Kill(-p.master.Process.Pid, sig)
}

// kill ends the whole group at once, also a paused one, and lets the guard go.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
	_, _ = io.WriteString(p.leash, "keep\n")
	_ = p.leash.Close()
	_ = p.guard.Wait()
}

// Stop ends the server and all sessions as kill -9 would; connections to
// it are then refused. It may be called twice. There is no orderly stop: on
// SIGTERM the master leaves, but its sessions linger for ten seconds or more.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	s.running.kill()
	s.running = nil
	for range 500 {
		if s.silent() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Errorf("dovecot is stopped but somebody still listens on its ports")
}

func (s *Server) silent() bool {
	for _, addr := range s.addrs() {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return false
		}
	}
	return true
}

// Restart stops the server and starts it again on the same ports, with the same mail.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart dovecot: %v\n%s", err, s.LogText())
	}
}

// Pause makes the server hang: the kernel still accepts connections for it, but nobody answers.
func (s *Server) Pause() {
	s.t.Helper()
	if err := s.running.signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("pause dovecot: %v", err)
	}
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.t.Helper()
	if err := s.running.signal(syscall.SIGCONT); err != nil {
		s.t.Fatalf("resume dovecot: %v", err)
	}
}

func (s *Server) addrs() []string { return []string{s.IMAP, s.IMAPS, s.POP3, s.POP3S} }

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

func (s *Server) answers() error {
	for _, addr := range []string{s.IMAPS, s.POP3S} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		c.Close()
	}
	return errors.Join(greets(s.IMAP), greets(s.POP3))
}

func greets(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}
