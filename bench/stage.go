//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"usher/bench/internal/authd"
	"usher/bench/internal/contender"
	"usher/bench/internal/load"
	"usher/bench/internal/store"
	"usher/internal/demo"
)

// play is what a child process does, until its standard input ends.
func play(role string, args []string) error {
	runtime.GOMAXPROCS(1) // leaves the other processors to the contender
	switch role {
	case "load":
		return load.Serve(os.Stdin, os.Stdout)
	case "store":
		return errors.Join(
			serve(func(ln net.Listener) error { return store.Serve(ln, store.IMAP) }),
			serve(func(ln net.Listener) error { return store.Serve(ln, store.POP3) }),
			untilEOF(),
		)
	case "auth":
		return errors.Join(serve(func(ln net.Listener) error { return authd.Serve(ln, args[0], args[1]) }), untilEOF())
	}
	return fmt.Errorf("no role is called %q", role)
}

// serve starts a server and prints where it is.
func serve(run func(net.Listener) error) error {
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = run(ln) }()
	_, err = fmt.Println(ln.Addr())
	return err
}

func untilEOF() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// A stage is what stands around a contender.
type stage struct {
	dir       string
	keep      bool
	cert, key string
	imap      string // the store
	pop3      string
	auth      string
	load      *load.Process
	leashes   []io.Closer // of the children; closed, they end
}

func build(keep bool) (s *stage, err error) {
	s = &stage{keep: keep}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "usher-bench-"); err != nil {
		return s, err
	}
	if err := s.certify(); err != nil {
		return s, err
	}
	addrs, err := s.child(2, "store")
	if err != nil {
		return s, err
	}
	s.imap, s.pop3 = addrs[0], addrs[1]
	if addrs, err = s.child(1, "auth", s.imap, s.pop3); err != nil {
		return s, err
	}
	s.auth = addrs[0]
	s.load, err = load.Start(self("load"))
	return s, err
}

// certify makes a certificate that every contender may read.
func (s *stage) certify() error {
	s.cert, s.key = filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")
	return errors.Join(demo.WriteCertificate(s.cert, s.key), os.Chmod(s.dir, 0o755), os.Chmod(s.key, 0o644), os.Chmod(s.cert, 0o644))
}

// self is this program in another role. ^C is for us alone.
func self(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{role}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

// child starts a server in another process and returns its addresses.
func (s *stage) child(n int, role string, args ...string) (addrs []string, err error) {
	cmd := self(role, args...)
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.leashes = append(s.leashes, leash)
	for in := bufio.NewReader(out); len(addrs) < n; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("start the %s: %w", role, err)
		}
		addrs = append(addrs, strings.TrimSpace(line))
	}
	return addrs, nil
}

func (s *stage) close() {
	for _, l := range s.leashes {
		_ = l.Close()
	}
	if s.load != nil {
		_ = s.load.Close()
	}
	if s.keep {
		fmt.Println("all files are in", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
}

// start starts a contender in a folder of its own.
func (s *stage) start(k contender.Kind) (*contender.Contender, error) {
	dir, err := os.MkdirTemp(s.dir, "contender-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := k.Start(&contender.Site{Dir: dir, Cert: s.cert, Key: s.key, IMAP: s.imap, POP3: s.pop3, Auth: s.auth})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", k.Name, err)
	}
	return c, nil
}
