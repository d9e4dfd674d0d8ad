//go:build linux

package local

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// owner is whose mailbox it is; nobody else has this uid.
const owner = 61777

// A site is what all contests share.
type site struct {
	dir, home, conf, greeter string
	program                  string // usher
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "usher-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{dir: dir, home: filepath.Join(dir, "homes/ann"), conf: filepath.Join(dir, "dovecot.conf"), greeter: filepath.Join(dir, "greeter"), program: *built}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.MkdirAll(s.home, 0o755))
	must(t, os.Chown(s.home, owner, owner))
	must(t, os.WriteFile(s.conf, []byte("protocols = imap pop3\nmail_location = maildir:~/Maildir\nssl = no\nlog_path = /dev/null\n"), 0o644))
	must(t, os.WriteFile(s.greeter, []byte("#!/bin/sh\nprintf '* PREAUTH [CAPABILITY IMAP4rev1] in\\r\\n'\nread line\n"), 0o755))
	if s.program == "" {
		s.program = filepath.Join(dir, "usher")
		build := exec.Command("go", "build", "-o", s.program, "usher/cmd/usher")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build usher: %v\n%s", err, out)
		}
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bare starts a program by hand.
type bare struct {
	site  *site
	words []string
}

func (s *site) bare(words []string) bare { return bare{s, words} }

// measure starts the program n times, one after the other.
func (b bare) measure(t *testing.T, n int) cost {
	t.Helper()
	before := ours()
	var took time.Duration
	for range n {
		took += b.start(t)
	}
	return cost{micros(ours()-before) / float64(n), micros(took) / float64(n)}
}

// start returns how long the program took to greet; then it is left, and waited for.
func (b bare) start(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	nc, err := net.FileConn(near)
	must(t, err)
	cmd := exec.Command(b.words[0], b.words[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout = b.site.home, far, far
	cmd.Env = []string{"USER=ann", "HOME=" + b.site.home, "IP=127.0.0.1", "LOCAL_IP=127.0.0.1", "PATH=/usr/local/bin:/usr/bin:/bin", "DOVECOT_PRESERVE_ENVS=PATH USER HOME IP LOCAL_IP MAIL PATH"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: owner, Gid: owner, Groups: []uint32{owner}}}
	must(t, cmd.Start())
	_, _ = near.Close(), far.Close()
	_, err = bufio.NewReader(nc).ReadString('\n')
	must(t, err)
	took := time.Since(began)
	_ = nc.Close()
	_ = cmd.Wait() // how it ends when it is left is its own affair
	return took
}

// ours is processor time of this process, and of its children that have ended.
func ours() time.Duration {
	var all time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		_ = unix.Getrusage(who, &u)
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return all
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
