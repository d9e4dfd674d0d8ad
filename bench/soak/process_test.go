package soak

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/demo"
)

const (
	password = "secret"
	inClear  = "{PLAIN}" + password
	accounts = 100
)

func user(i int) string { return fmt.Sprintf("user%d@example.org", i%accounts) }

// A door is one of usher's ports.
type door struct {
	addr string
	tls  bool
	*dialect
}

// An usher is a running process.
type usher struct {
	cmd   *exec.Cmd
	log   string
	doors []door
	tls   *tls.Config
}

const configuration = `
[server]
state = "state"
admin = "admin.sock"
user  = ""
log   = "logfmt"

[tls]
cert = "cert.pem"
key  = "key.pem"

[limit]
sessions_per_user         = 0
sessions_per_user_address = 0
%s

[[listen]]
protocol = "imap"
addr     = ["127.0.0.1:0"]

[[listen]]
protocol = "imap"
addr     = ["127.0.0.1:0"]
tls      = "implicit"

[[listen]]
protocol = "pop3"
addr     = ["127.0.0.1:0"]

[[listen]]
protocol = "pop3"
addr     = ["127.0.0.1:0"]
tls      = "implicit"

[backend.store]
imap = [%q]
pop3 = [%q]
`

// startUsher builds the program, gives it accounts and two stores, and starts
// it. It ends with ctx at the latest. limits are further lines of [limit], stored is
// the password of all as it is kept.
func startUsher(ctx context.Context, t *testing.T, limits, stored string) *usher {
	t.Helper()
	dir := t.TempDir()
	program, config := filepath.Join(dir, "program"), filepath.Join(dir, "usher.toml")
	command(ctx, t, "go", "build", "-o", program, "usher/cmd/usher")
	text := fmt.Sprintf(configuration, limits, startStore(ctx, t, storeIMAP), startStore(ctx, t, storePOP3))
	write(t, config, text)
	write(t, filepath.Join(dir, "accounts.csv"), accountsCSV(stored))
	command(ctx, t, program, "account", "import", filepath.Join(dir, "accounts.csv"), "-c", config)
	u := &usher{log: filepath.Join(dir, "log"), tls: certificate(t, dir)}
	u.start(ctx, t, program, config)
	return u
}

func accountsCSV(stored string) string {
	var b strings.Builder
	b.WriteString("user,password,host\n")
	for i := range accounts {
		fmt.Fprintf(&b, "%s,%s,store\n", user(i), stored)
	}
	return b.String()
}

func certificate(t *testing.T, dir string) *tls.Config {
	t.Helper()
	cert := filepath.Join(dir, "cert.pem")
	if err := demo.WriteCertificate(cert, filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, cert))
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

func (u *usher) start(ctx context.Context, t *testing.T, program, config string) {
	t.Helper()
	log, err := os.Create(u.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	u.cmd = exec.CommandContext(ctx, program, "serve", "-c", config)
	u.cmd.Stderr = log
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.end)
	u.findDoors(t)
}

// end is for tests that fail before checkGoroutines.
func (u *usher) end() {
	_ = u.cmd.Process.Kill()
	_ = u.cmd.Wait()
}

var listening = regexp.MustCompile(`msg=listening protocol=(\w+) addr=(\S+) implicit_tls=(\w+)`)

func (u *usher) findDoors(t *testing.T) {
	t.Helper()
	const doors = 4
	for range 200 {
		found := listening.FindAllSubmatch(read(t, u.log), -1)
		if len(found) < doors {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for _, f := range found {
			d := door{string(f[2]), string(f[3]) == "true", imap}
			if string(f[1]) == "pop3" {
				d.dialect = pop3
			}
			u.doors = append(u.doors, d)
		}
		return
	}
	t.Fatalf("usher does not listen:\n%s", read(t, u.log))
}

// A sample is what the kernel says of the process.
type sample struct {
	rss, threads int // rss in bytes
	sockets      int
	files        int // that are no sockets: the database's handles, of which a few are kept
}

func (u *usher) sample(t *testing.T) (s sample) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", u.cmd.Process.Pid)
	for line := range strings.Lines(string(read(t, proc+"status"))) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			s.rss = n << 10
		case "Threads":
			s.threads = n
		}
	}
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch to, err := os.Readlink(proc + "fd/" + f.Name()); {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(to, "socket:"):
			s.sockets++
		default:
			s.files++
		}
	}
	return s
}

// settle waits until as many sockets are open as there should be, or with 0
// until their number stands still, and takes a sample.
func (u *usher) settle(t *testing.T, sockets int) sample {
	t.Helper()
	last, since := u.sample(t), time.Now()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		s := u.sample(t)
		if s.sockets != last.sockets {
			since = time.Now()
		}
		last = s
		if still := time.Since(since) > time.Second; still && (sockets == 0 || s.sockets == sockets) {
			return s
		}
	}
	t.Errorf("%d sockets are open, want %d", last.sockets, sockets)
	return last
}

// checkLog finds complaints.
func (u *usher) checkLog(t *testing.T) {
	t.Helper()
	var bad []string
	for line := range strings.Lines(string(read(t, u.log))) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") {
			bad = append(bad, line)
		}
	}
	if len(bad) > 0 {
		t.Errorf("%d complaints in the log, as\n%s", len(bad), strings.Join(bad[:min(len(bad), 5)], ""))
	}
}

// checkGoroutines ends the process by SIGQUIT, which makes Go print all stacks:
// the only way to count goroutines from outside. Nobody is connected any more.
func (u *usher) checkGoroutines(t *testing.T) {
	t.Helper()
	_ = u.cmd.Process.Signal(syscall.SIGQUIT)
	_ = u.cmd.Wait()
	text := read(t, u.log)
	i := bytes.Index(text, []byte("SIGQUIT: quit"))
	if i < 0 {
		t.Fatal("no stacks were printed")
	}
	n := bytes.Count(text[i:], []byte("\ngoroutine "))
	ready := bytes.Count(text[i:], []byte("listen.(*crew).work(")) // wait for the next client; few, by a test of their own
	t.Logf("%d goroutines when all had left, and %d that wait for the next client", n-ready, ready)
	if n-ready > 40 { // an idle usher has about 20
		t.Errorf("%d goroutines are left:\n%.20000s", n, text[i:])
	}
}

// needFiles raises the number of files that we may open.
func needFiles(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(n) {
		t.Fatalf("%d files may be opened, want %d: raise the limit (ulimit -Hn)", limit.Max, n)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil { // usher inherits it
		t.Fatal(err)
	}
}

func command(ctx context.Context, t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
