//go:build linux

package spawn

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is started: a program that ends at once, and one that is used.
var benched = map[string]Program{
	"true": {Path: "/bin/true", Args: []string{"true"}},
	"imap": {
		Path: "/usr/lib/dovecot/imap", Args: []string{"/usr/lib/dovecot/imap", "-o", "mail_location=maildir:~/Maildir"},
		Env: []string{"USER=ann", "IP=127.0.0.1", "LOCAL_IP=127.0.0.1", "DOVECOT_PRESERVE_ENVS=USER HOME IP LOCAL_IP"}, Vars: []string{"HOME"},
	},
}

// BenchmarkStart is one program from request to end, through the helper.
func BenchmarkStart(b *testing.B) {
	needRoot(b)
	bench(b, func(b *testing.B, name string, p Program) {
		s := open(b, func(policy *Policy) { policy.Programs = map[string]Program{name: p} })
		r := s.request(name)
		if name == "imap" {
			r.Env = []string{"HOME=" + r.Home}
		}
		keeper, worker := s.processes()
		measure(b, []int{os.Getpid(), keeper, worker}, func() {
			nc, _, err := s.Start(context.Background(), r)
			if err != nil {
				b.Fatal(err)
			}
			finish(b, nc.(*net.UnixConn))
		})
	})
}

// BenchmarkForkExec is the same by os/exec, as root could do it without a helper.
func BenchmarkForkExec(b *testing.B) {
	needRoot(b)
	bench(b, func(b *testing.B, name string, p Program) {
		home := folderOf(b)
		if err := os.Chown(home, ann, ann); err != nil {
			b.Fatal(err)
		}
		env := p.Env
		if name == "imap" {
			env = append(env[:len(env):len(env)], "HOME="+home)
		}
		measure(b, []int{os.Getpid()}, func() {
			ours, end, err := pair(unix.SOCK_STREAM)
			if err != nil {
				b.Fatal(err)
			}
			nc, err := connOf(ours)
			if err != nil {
				b.Fatal(err)
			}
			theirs := os.NewFile(uintptr(end), "session")
			cmd := exec.Command(p.Path, p.Args[1:]...)
			cmd.Env, cmd.Dir = env, home
			cmd.Stdin, cmd.Stdout = theirs, theirs
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: ann, Gid: ann, Groups: []uint32{ann}}}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			theirs.Close()
			finish(b, nc)
			cmd.Wait()
		})
	})
}

// finish waits for the first word of a program, if it has one, and for its end.
func finish(b *testing.B, nc *net.UnixConn) {
	nc.CloseWrite()
	if _, err := io.Copy(io.Discard, nc); err != nil {
		b.Fatal(err)
	}
	nc.Close()
}

func bench(b *testing.B, one func(*testing.B, string, Program)) {
	for _, name := range []string{"true", "imap"} {
		b.Run(name, func(b *testing.B) {
			p := benched[name]
			if _, err := os.Stat(p.Path); err != nil {
				b.Skip(err)
			}
			one(b, name, p)
		})
	}
}

// measure runs do, and reports what it cost in processor time: in all, and of that
// what went to the programs themselves.
func measure(b *testing.B, pids []int, do func()) {
	do() // a maildir is made the first time
	self, programs := spent(b, pids)
	for b.Loop() {
		do()
	}
	selfThen, programsThen := spent(b, pids)
	self, programs = selfThen-self, programsThen-programs
	b.ReportMetric(float64((self+programs).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(programs.Microseconds())/float64(b.N), "program-µs/op")
}

// spent is processor time of processes, and of their children that have ended.
func spent(b *testing.B, pids []int) (self, children time.Duration) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		var ticks [4]time.Duration // utime, stime, cutime, cstime
		for i, word := range strings.Fields(rest)[11:15] {
			n, _ := strconv.Atoi(word)
			ticks[i] = time.Duration(n) * 10 * time.Millisecond
		}
		self, children = self+ticks[0]+ticks[1], children+ticks[2]+ticks[3]
	}
	return self, children
}

// processes are the two of the helper.
func (s *stage) processes() (keeper, worker int) {
	s.t.Helper()
	keeper = onlyChild(s.t, os.Getpid(), "helper")
	return keeper, onlyChild(s.t, keeper, "worker")
}

// onlyChild is the child of a process that has a word in its command line: the youngest, as
// the helper of the test before may not have ended yet.
func onlyChild(t testing.TB, parent int, word string) int {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*")
	found, born := 0, -1
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !strings.Contains(string(line), "\x00"+word) {
			continue
		}
		text, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest) // from the third on: proc(5)
		if since, _ := strconv.Atoi(fields[19]); fields[1] == strconv.Itoa(parent) && (since > born || since == born && pid > found) {
			found, born = pid, since
		}
	}
	if found == 0 {
		t.Fatalf("process %d has no child %q", parent, word)
	}
	return found
}
