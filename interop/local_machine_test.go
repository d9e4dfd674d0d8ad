package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"usher/internal/need"
)

// A machine serves mailboxes of its own: it has mail programs, and users whose homes
// are beneath one folder.
type machine struct {
	t     testing.TB
	dir   string // everybody may enter it
	homes string
	base  int // the uid of user 0
}

// lowest is the first uid of these tests' users, and of no others that run at the same
// time. They are not in /etc/passwd. Each machine has usersEach of them.
var lowest = 100000 + os.Getpid()%10000*500

const usersEach = 20

// machines are how many there have been.
var machines atomic.Int64

// newMachine makes one, for a test that may run beside others. Only root can serve others.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start programs as others")
	}
	t.Parallel()
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, homes: filepath.Join(dir, "homes"), base: lowest + usersEach*int(machines.Add(1))}
	open(t, dir)
	if err := os.Mkdir(m.homes, 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// program writes a script that takes the place of a mail program.
func (m *machine) program(name, script string) string {
	m.t.Helper()
	file := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return file
}

// dovecot returns lines of a block of programs that are Dovecot's.
func (m *machine) dovecot() string {
	m.t.Helper()
	need.Program(m.t, "dovecot")
	file := filepath.Join(m.dir, "dovecot.conf")
	text := "protocols = imap pop3\nmail_location = maildir:~/Maildir\nssl = no\nlog_path = /dev/stderr\nmailbox_idle_check_interval = 1s\nimap_idle_notify_interval = 2m\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf("imap = [\"/usr/lib/dovecot/imap\", \"-c\", %q]\npop3 = [\"/usr/lib/dovecot/pop3\", \"-c\", %q]\n", file, file)
}

// courier returns lines of a block of programs that are Courier's, which are copied to
// where everybody can reach them.
func (m *machine) courier() string {
	m.t.Helper()
	root := need.Courier(m.t)
	libs := filepath.Join(m.dir, "lib")
	all, err := filepath.Glob(filepath.Join(root, "usr/lib/*.so*"))
	if err != nil || len(all) == 0 {
		m.t.Fatalf("no libraries of Courier in %s: %v", root, err)
	}
	for _, f := range all {
		m.copy(f, filepath.Join(libs, filepath.Base(f)))
	}
	lines := ""
	for protocol, f := range map[string]string{"imap": "usr/bin/imapd", "pop3": "usr/lib/courier/courier/courierpop3d"} {
		real := filepath.Join(m.dir, "bin", filepath.Base(f))
		m.copy(filepath.Join(root, f), real)
		script := m.program("courier/"+filepath.Base(f), fmt.Sprintf("LD_LIBRARY_PATH=%s exec %s \"$@\"\n", libs, real))
		lines += fmt.Sprintf("%s = [%q]\n", protocol, script)
	}
	return lines + fmt.Sprintf("env_file = %q\n", m.courierConf())
}

// courierConf is a configuration file as Courier's own: its programs read it as their
// environment.
func (m *machine) courierConf() string {
	file := filepath.Join(m.dir, "imapd.conf")
	write(m.t, file, "# as /etc/courier/imapd\nIMAP_CAPABILITY=\"IMAP4rev1 UIDPLUS CHILDREN NAMESPACE QUOTA IDLE\"\nIMAP_KEYWORDS=1\nIMAP_USELOCKS=1\nIMAP_IDLE_TIMEOUT=1\n")
	return file
}

func (m *machine) copy(from, to string) {
	m.t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// home makes the home of the n-th user, with one message.
func (m *machine) home(n int) string {
	m.t.Helper()
	home := filepath.Join(m.homes, fmt.Sprint("user", n))
	for _, dir := range []string{"", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		path := filepath.Join(home, dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			m.t.Fatal(err)
		}
		m.give(path, m.base+n)
	}
	m.deliver(home, n, subject(m.user(n), "here"))
	return home
}

func (m *machine) give(path string, uid int) {
	m.t.Helper()
	if err := os.Lchown(path, uid, uid); err != nil {
		m.t.Fatal(err)
	}
}

// deliver puts a message into a maildir.
func (m *machine) deliver(home string, n int, about string) {
	m.t.Helper()
	file := filepath.Join(home, "Maildir/tmp/1."+strconv.Itoa(len(about))+strings.Map(letters, about)+".test")
	write(m.t, file, "Subject: "+about+"\n\nhello\n")
	m.give(file, m.base+n)
	if err := os.Rename(file, strings.Replace(file, "/tmp/1.", "/new/1.", 1)); err != nil {
		m.t.Fatal(err)
	}
}

func letters(r rune) rune {
	if r < 'a' || r > 'z' {
		return -1
	}
	return r
}

func (m *machine) user(n int) string { return fmt.Sprintf("user%d@example.org", n) }

// account is the n-th user's, with a home that need not be there. More fields come in
// pairs.
func (m *machine) account(n int, more ...string) account {
	a := account{
		"user": m.user(n), "password": "{PLAIN}" + annSecret, "uid": strconv.Itoa(m.base + n), "gid": strconv.Itoa(m.base + n),
		"home": filepath.Join(m.homes, fmt.Sprint("user", n)),
	}
	for i := 0; i < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

// start runs usher, which becomes nobody, with lines of [local] and what follows.
func (m *machine) start(config string, accounts ...account) *proxy {
	m.t.Helper()
	return start(m.t, m.setup(config, accounts...))
}

// setup is what start runs.
func (m *machine) setup(config string, accounts ...account) setup {
	return setup{
		user: "nobody", server: "own_names = [\"mx1.example.org\", \"192.0.2.1\"]\n", accounts: accounts,
		config: quick + fmt.Sprintf("[local]\nhomes = [%q]\ntimeout = \"5s\"\nlinger = \"1s\"\n", m.homes) + config,
	}
}

// A process is one that runs, as /proc tells of it.
type process struct {
	pid    int
	status map[string]string // "Uid": "62001 62001 62001 62001"
}

// processes are those of the n-th user.
func (m *machine) processes(n int) (list []process) {
	files, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		p := process{status: map[string]string{}}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			p.status[name] = strings.Join(strings.Fields(value), " ")
		}
		if slices.Contains(strings.Fields(p.status["Uid"]), strconv.Itoa(m.base+n)) {
			p.pid, _ = strconv.Atoi(p.status["Pid"])
			list = append(list, p)
		}
	}
	return list
}

// gone waits until the n-th user has no process any more.
func (m *machine) gone(p *proxy, n int) {
	m.t.Helper()
	p.eventually(fmt.Sprintf("user %d has no process any more", n), func() bool { return len(m.processes(n)) == 0 })
}

// isUser holds a process to its user, and to nothing that usher has.
func (m *machine) isUser(one process, n int) {
	m.t.Helper()
	uid := strconv.Itoa(m.base + n)
	all := strings.Join([]string{uid, uid, uid, uid}, " ")
	for name, want := range map[string]string{
		"Uid": all, "Gid": all, "Groups": uid, "NoNewPrivs": "1",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": one.status["CapBnd"], "CapAmb": none,
	} {
		if got := one.status[name]; got != want {
			m.t.Errorf("the program of user %d has %s %q, want %q", n, name, got, want)
		}
	}
	if sid, err := sessionOf(one.pid); err != nil || sid != one.pid {
		m.t.Errorf("the program is in session %d (%v), not in its own, %d", sid, err, one.pid)
	}
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", one.pid))
	for _, f := range files {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", one.pid, f.Name()))
		if strings.Contains(to, "accounts.db") || strings.Contains(to, "policy") || strings.Contains(to, "usher.toml") {
			m.t.Errorf("the program has %s open", to)
		}
	}
}

const none = "0000000000000000"

func sessionOf(pid int) (int, error) {
	sid, _, no := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if no != 0 {
		return 0, no
	}
	return int(sid), nil
}
