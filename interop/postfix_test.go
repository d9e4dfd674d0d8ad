package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/need"
)

// A postfixServer is a Postfix that has no mail, only usher for a service.
type postfixServer struct {
	starter
	dir string // with etc, queue, data
	t   testing.TB
	log *syslogd
}

// postfixDir is Debian's daemon_directory, in which master looks for programs.
const postfixDir = "/usr/lib/postfix/sbin"

// postfix runs a Postfix with a line for each port. columns are those of master.cf for
// chroot, wakeup and the number of processes; args stand before the protocol.
func postfix(t *testing.T, p *proxy, chroot, args string) *postfixServer {
	t.Helper()
	program := need.Program(t, "postfix")
	if os.Geteuid() != 0 {
		t.Skip("Postfix must be root")
	}
	dir, err := os.MkdirTemp("/tmp", "px") // nobody can enter t.TempDir, and Postfix's programs are somebody else
	if err != nil {
		t.Fatal(err)
	}
	s := &postfixServer{starter{p, map[string]string{}}, dir, t, listenToSyslog(t, p)}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, sub := range []string{"", "etc", "queue", "data"} {
		if err := errorOf(os.MkdirAll(filepath.Join(dir, sub), 0o755), os.Chmod(filepath.Join(dir, sub), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	output(t, exec.Command("chown", "postfix", filepath.Join(dir, "data")))
	if err := os.Symlink(binary(t), filepath.Join(dir, "usher-postfix")); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", strings.Count(postfixDir, "/"))
	text := "postlog unix-dgram n - n - 1 postlogd\n"
	for _, l := range recommended(t, "../contrib/postfix/master.cf") {
		s.addrs[l[0]] = freePort(t)
		l[0], l[4], l[7] = s.addrs[l[0]], chroot, up+filepath.Join(dir, l[7])[1:]+" "+args
		text += strings.Join(append(l, "-c", p.file), " ") + "\n"
	}
	write(t, filepath.Join(dir, "etc/master.cf"), text)
	write(t, filepath.Join(dir, "etc/main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = %[2]s
meta_directory = /etc/postfix
inet_interfaces = loopback-only
maillog_file = /tmp/%[3]s/maillog
maillog_file_prefixes = /tmp
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ GORACE
`, dir, postfixDir, filepath.Base(dir)))
	if chroot == "y" { // as Debian's start script does it
		output(t, exec.Command("sh", "-c", `mkdir -p "$0/etc" && cp /etc/hosts /etc/resolv.conf "$0/etc"`, filepath.Join(dir, "queue")))
	}
	t.Cleanup(s.end)
	s.command(program, "start")
	return s
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *postfixServer) command(program string, args ...string) {
	s.t.Helper()
	c := exec.Command(program, append([]string{"-c", filepath.Join(s.dir, "etc")}, args...)...)
	c.Env = s.p.env()
	output(s.t, c)
}

// end stops it, and what it has started.
func (s *postfixServer) end() {
	pids := s.pids()
	c := exec.Command("postfix", "-c", filepath.Join(s.dir, "etc"), "stop")
	_ = c.Run() // the test may have done so
	for _, pid := range pids {
		s.p.eventually(fmt.Sprintf("process %s has ended", pid), func() bool { return !isUsher(pid) })
	}
	text, _ := os.ReadFile(filepath.Join(s.dir, "maillog"))
	checkLog(s.t, s.log.text())
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "warning: process") || strings.Contains(line, "bad command") {
			if !s.p.forced {
				s.t.Errorf("Postfix's log says %s", line)
			}
		}
	}
	if s.t.Failed() {
		s.t.Logf("Postfix said:\n%s\nusher said:\n%s", text, s.log.text())
	}
}

// pids are the processes of usher that master has started.
func (s *postfixServer) pids() (list []string) {
	text, err := os.ReadFile(filepath.Join(s.dir, "queue/pid/master.pid"))
	if err != nil {
		return nil
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, _ := os.ReadFile(file)
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if pid := filepath.Base(filepath.Dir(file)); len(fields) > 1 && fields[1] == strings.TrimSpace(string(text)) && isUsher(pid) {
			list = append(list, pid)
		}
	}
	return list
}

// allInJail waits until all processes live in the queue directory: one may have just begun.
func (s *postfixServer) allInJail() {
	s.t.Helper()
	if len(s.pids()) == 0 {
		s.t.Error("there is no process")
	}
	for _, pid := range s.pids() {
		s.p.eventually("process "+pid+" lives in the queue directory", func() bool {
			root, err := os.Readlink("/proc/" + pid + "/root")
			return err != nil || root == filepath.Join(s.dir, "queue") // or has ended
		})
	}
}

func isUsher(pid string) bool {
	file, err := os.Readlink("/proc/" + pid + "/exe")
	return err == nil && filepath.Base(file) == "usher"
}

// A syslogd is where usher's lines go.
type syslogd struct {
	mu    sync.Mutex
	lines []string
}

// listenToSyslog makes the log go to the test.
func listenToSyslog(t testing.TB, p *proxy) *syslogd {
	t.Helper()
	path := filepath.Join(filepath.Dir(p.file), "log.sock")
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.file, []byte(strings.Replace(string(text), `log      = "logfmt"`, fmt.Sprintf("log = %q", "syslog+unix://"+path), 1)), 0o600); err != nil { // its mode stays
		t.Fatal(err)
	}
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	s := &syslogd{}
	t.Cleanup(func() { _ = nc.Close() })
	go s.listen(nc)
	return s
}

func (s *syslogd) listen(nc *net.UnixConn) {
	b := make([]byte, 64<<10)
	for {
		n, err := nc.Read(b)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, string(b[:n]))
		s.mu.Unlock()
	}
}

func (s *syslogd) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func TestPostfixStartsUsher(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		s := postfix(t, p, "n", "")
		s.serves(t)
		if !p.runs() {
			p.eventually("the log has lines of a Postfix service", func() bool {
				return strings.Contains(s.log.text(), " postfix/usher[") && strings.Contains(s.log.text(), "session ended")
			})
		}
	})
}

func TestPostfixHasUsherInAChroot(t *testing.T) {
	d := newStore(t, "east", dovecot.Options{})
	t.Run("beside an usher in the background, whatever it needs", func(t *testing.T) {
		p := start(t, setup{config: store("east", d, "none") + quick, accounts: []account{checked(ann, annSecret, "east"), unchecked(bob, "east")}})
		s := postfix(t, p, "y", "")
		s.serves(t)
		s.allInJail()
	})
	t.Run("by itself, where all comes by the network", func(t *testing.T) {
		p := prepare(t, setup{config: store("east", d, "none") + quick + anybodyOfEast})
		s := postfix(t, p, "y", "")
		s.serves(t)
		s.allInJail()
	})
	t.Run("by itself with files, which it says does not work", func(t *testing.T) {
		p := prepare(t, setup{config: store("east", d, "none") + quick, accounts: []account{checked(ann, annSecret, "east")}})
		p.forced = true // Postfix's log has a warning
		s := postfix(t, p, "y", "")
		c := eventuallyDial(t, "imap", s.addrs["imap"])
		p.eventually("usher says so", func() bool { return strings.Contains(s.log.text(), "does not work in the chroot") })
		_ = c.Close()
	})
}

const anybodyOfEast = "[[accounts]]\ntype = \"any\"\nset = { host = \"east\" }\n"

func TestPostfixReloadsWhileASessionIsOpen(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		s := postfix(t, p, "n", "")
		old := s.client(t, "imap")
		old.enter(ann, annSecret)
		before := s.pids()
		s.command("postfix", "reload")
		p.eventually("a new generation serves clients", func() bool {
			c := s.client(t, "imap")
			c.enter(bob, bobSecret)
			c.finds(bob, "east")
			_ = c.Close()
			return slices.ContainsFunc(s.pids(), func(pid string) bool { return !slices.Contains(before, pid) })
		})
		old.finds(ann, "east")
		_ = old.Close()
		for _, pid := range before {
			p.eventually("the old generation has ended", func() bool { return !isUsher(pid) })
		}
	})
}

func TestAProcessEndsAfterSoManyClients(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		s := postfix(t, p, "n", "-o max_use=2")
		var all []*client
		for range 5 {
			c := s.client(t, "imap")
			c.enter(ann, annSecret)
			all = append(all, c)
		}
		if n := len(s.pids()); !p.runs() && n < 3 {
			t.Errorf("five clients are with %d processes, of which each may have two", n)
		}
		for _, c := range all {
			c.finds(ann, "east")
			_ = c.Close()
		}
		p.eventually("one process at most waits for clients", func() bool { return len(s.pids()) <= 1 })
	})
}

func TestAProcessEndsWhenNobodyComes(t *testing.T) {
	withAndWithout(t, quick, func(t *testing.T, p *proxy) {
		s := postfix(t, p, "n", "-o max_idle=1s")
		for range 2 {
			c := s.client(t, "pop3")
			c.enter(bob, bobSecret)
			c.finds(bob, "east")
			_ = c.Close()
			p.eventually("nobody waits any more", func() bool { return len(s.pids()) == 0 })
		}
	})
}

func TestPostfixStopEndsSessions(t *testing.T) {
	d := newStore(t, "east", dovecot.Options{})
	p := prepare(t, setup{config: store("east", d, "none") + quick, accounts: []account{checked(ann, annSecret, "east")}})
	s := postfix(t, p, "n", "")
	c := s.client(t, "imap")
	c.enter(ann, annSecret)
	s.command("postfix", "stop")
	c.until("* BYE")
	if _, err := net.Dial("tcp", s.addrs["imap"]); err == nil {
		t.Error("somebody listens still")
	}
}
