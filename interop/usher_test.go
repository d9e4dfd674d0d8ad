package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// builds is where the binary is; TestMain removes it.
var builds string

// beside is how many parallel tests run at the same time: most wait most of the time,
// for one of two processes or for a refusal. go test -parallel says otherwise.
const beside = "6"

func TestMain(m *testing.M) {
	err := flag.Set("test.parallel", beside)
	if err != nil {
		panic(err)
	}
	if builds, err = os.MkdirTemp("", "usher-interop-"); err != nil {
		panic(err)
	}
	if err := os.Chmod(builds, 0o755); err != nil { // who is not root upgrades, too
		panic(err)
	}
	status := m.Run()
	if err := os.RemoveAll(builds); err != nil && status == 0 {
		panic(err)
	}
	os.Exit(status)
}

// build makes the binary, with the race detector, once.
var build = sync.OnceValues(func() (string, error) {
	file := filepath.Join(builds, "usher")
	if out, err := exec.Command("go", "build", "-race", "-o", file, "usher/cmd/usher").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build usher: %w\n%s", err, out)
	}
	return file, nil
})

func binary(t testing.TB) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// usher is a command line of it. The race detector would wait for a second at
// the end.
func usher(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(binary(t), args...)
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=20")
	return c
}

// output runs a program, which must end well.
func output(t testing.TB, c *exec.Cmd) string {
	t.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return string(out)
}

// A setup is what an administrator prepares.
type setup struct {
	grace    string // "" is "0s"
	files    int    // that usher may have open; 0: as many as we
	tls      string // further keys of [tls]
	server   string // lines of [server]
	user     string // whom to become; "": nobody else
	listen   string // lines of each [[listen]]
	config   string // goes on where [tls] and four [[listen]] end
	accounts []account
}

// account is a row of the embedded database.
type account map[string]string

// checked is an account whose password usher checks.
func checked(name, password, host string) account {
	return account{"user": name, "password": "{PLAIN}" + password, "host": host}
}

// unchecked is an account whose password the backend checks.
func unchecked(name, host string) account {
	return account{"user": name, "nopassword": "Y", "host": host}
}

// A proxy is a running usher.
type proxy struct {
	addrs         map[string]string // by imap, imaps, pop3, pop3s
	cert, key, ca string            // ca is what clients verify cert by
	file          string            // the configuration

	t       testing.TB
	log     string
	files   int
	process *exec.Cmd
	ended   chan struct{} // closed when it has
	forced  bool          // the test has ended it otherwise than in order
}

// start prepares an usher and runs it until the test ends.
func start(t testing.TB, s setup) *proxy {
	t.Helper()
	p := prepare(t, s)
	p.run()
	return p
}

// prepare makes the configuration and the accounts of an usher.
func prepare(t testing.TB, s setup) *proxy {
	t.Helper()
	p := &proxy{t: t, addrs: map[string]string{}, files: s.files}
	p.cert, p.key, p.ca = dovecot.Certificate(t, "localhost", "127.0.0.1")
	dir := t.TempDir()
	p.file, p.log = filepath.Join(dir, "usher.toml"), filepath.Join(dir, "log")
	if s.grace == "" {
		s.grace = "0s"
	}
	text := fmt.Sprintf(conf, s.user, s.grace, p.cert, p.key, s.tls)
	text = strings.ReplaceAll(text, "[server]\n", "[server]\n"+s.server)
	text = strings.ReplaceAll(text, "[[listen]]\n", "[[listen]]\n"+s.listen)
	write(t, p.file, text+s.config)
	if s.user != "" {
		open(t, p.file, p.cert, p.key)
		if err := os.Chmod(dir, 0o777); err != nil { // for the admin socket
			t.Fatal(err)
		}
	}
	p.importAccounts(s.accounts)
	return p
}

// open lets everybody read files.
func open(t testing.TB, files ...string) {
	t.Helper()
	for _, f := range files {
		for _, path := range []string{f, filepath.Dir(f), filepath.Dir(filepath.Dir(f))} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const conf = `
[server]
state    = "state"
admin    = "admin.sock"
user     = %q
hostname = "usher.example.org"
log      = "logfmt"
grace    = %q

[tls]
cert = %q
key  = %q
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

`

// store is a [backend.NAME] for a Dovecot. Lines of more belong to it.
func store(name string, s *dovecot.Server, tls string, more ...string) string {
	imap, pop3 := s.IMAP, s.POP3
	if tls == "implicit" {
		imap, pop3 = s.IMAPS, s.POP3S
	}
	byName := strings.NewReplacer("127.0.0.1", "localhost")
	return fmt.Sprintf("[backend.%s]\nimap = [%q]\npop3 = [%q]\ntls = %q\nca = %q\n%s\n\n",
		name, byName.Replace(imap), byName.Replace(pop3), tls, s.CA, strings.Join(more, "\n"))
}

func (p *proxy) importAccounts(accounts []account) {
	p.t.Helper()
	if len(accounts) == 0 {
		return
	}
	var lines bytes.Buffer
	for _, a := range accounts {
		if err := json.NewEncoder(&lines).Encode(a); err != nil {
			p.t.Fatal(err)
		}
	}
	file := filepath.Join(p.t.TempDir(), "accounts.jsonl")
	write(p.t, file, lines.String())
	p.command("account", "import", file)
}

// command runs a subcommand on the same configuration.
func (p *proxy) command(args ...string) string {
	p.t.Helper()
	return output(p.t, usher(p.t, append(args, "-c", p.file)...))
}

// admin is the socket for commands.
func (p *proxy) admin() string { return filepath.Join(filepath.Dir(p.file), "admin.sock") }

func (p *proxy) run() {
	p.t.Helper()
	log, err := os.Create(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close() // the process has its own descriptor
	p.process = usher(p.t, "serve", "-c", p.file)
	if p.files > 0 {
		p.process.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, p.files)}, p.process.Args...)
		p.process.Path = "/bin/sh"
	}
	p.process.Stdout, p.process.Stderr = log, log
	if err := p.process.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go p.wait()
	p.t.Cleanup(p.end)
	p.waitReady()
}

// wait is the process's goroutine and ends with it.
func (p *proxy) wait() {
	_ = p.process.Wait() // how it ended is in its ProcessState
	close(p.ended)
}

var listening = regexp.MustCompile(`msg=listening protocol=(imap|pop3) addr=(\S+) implicit_tls=(\w+)`)

// waitReady reads the addresses from the log.
func (p *proxy) waitReady() {
	p.t.Helper()
	p.eventually("usher listens on four ports", func() bool {
		all := listening.FindAllStringSubmatch(p.logText(), -1)
		for _, m := range all {
			name := m[1]
			if m[3] == "true" {
				name += "s"
			}
			p.addrs[name] = m[2]
		}
		return len(all) == 4
	})
}

// eventually waits for something to become true.
func (p *proxy) eventually(what string, isTrue func() bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !isTrue(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("it never became true that %s", what)
		}
	}
}

func (p *proxy) logText() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func (p *proxy) terminate() {
	p.t.Helper()
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// exits waits for the process and returns its status.
func (p *proxy) exits(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Errorf("usher still runs %v after SIGTERM", within)
		_ = p.process.Process.Signal(syscall.SIGQUIT) // says where it hangs
		<-p.ended
	}
	return p.process.ProcessState.ExitCode()
}

// end stops usher, if the test has not, and looks at what it said.
func (p *proxy) end() {
	p.terminate()
	if status := p.exits(15 * time.Second); status != 0 && !p.forced {
		p.t.Errorf("usher ended with status %d", status)
	}
	checkLog(p.t, p.logText())
}

// checkLog looks for what must never be in a log. All passwords of these tests
// contain the word secret, right and wrong ones.
func checkLog(t testing.TB, log string) {
	for _, word := range []string{"panic", "DATA RACE", "secret"} {
		if strings.Contains(log, word) {
			t.Errorf("the log says %q", word)
		}
	}
	if t.Failed() {
		t.Logf("usher said at last:\n%s", tail(log, 100))
	}
}

func tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
