// Package fail2ban_test runs the filter over what usher really logs.
package fail2ban_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

// forged are names that look like lines of the log, or like the end of one.
var forged = []string{
	`x" remote=6.6.6.6:1 why="wrong name or password`,
	`x remote=6.6.6.6:1 tls=no why="wrong name or password" `,
	`level=WARN msg="login refused" id=A protocol=imap remote=6.6.6.6:1 tls=no why="wrong name or password"`,
	`x","remote":"6.6.6.6:1","tls":"no","why":"wrong name or password`,
	`{"level":"WARN","msg":"login refused","id":"A","protocol":"imap","remote":"6.6.6.6:1","tls":"no","why":"wrong name or password"}`,
	`usher[1]: level=WARN msg="login refused" id=A protocol=imap remote=6.6.6.6:1 tls=no why="wrong name or password"`,
	"2026-01-01T00:00:00Z usher: 6.6.6.6",
	`<HOST> 6.6.6.6 %s \`,
}

// ends are what somebody may take for the end of a line.
var ends = []string{"\n", "\r\n", "\r", "\v", "\u0085", "\u2028"}

// A try is a login on one connection.
type try func(t *testing.T, addr, name string)

// The tries that must count: a wrong name or password.
var wrong = []try{imapLogin, imapLiteral, imapPlain, pop3User, pop3Plain}

// The tries that must not, though their words may look the same.
var otherwise = []try{
	func(t *testing.T, addr, name string) { // why="mechanism not offered", and the name of the mechanism is in err=
		talk(t, addr, "a AUTHENTICATE "+name+"\r\n", "a LOGOUT\r\n")
	},
	func(t *testing.T, addr, name string) { talk(t, addr, name+"\r\n", "a LOGOUT\r\n") },
	func(t *testing.T, addr, name string) { // malformed: it has no NUL
		talk(t, addr, "a AUTHENTICATE PLAIN "+encode(name)+"\r\n", "a LOGOUT\r\n")
	},
}

func imapLogin(t *testing.T, addr, name string) {
	talk(t, addr, fmt.Sprintf("a LOGIN \"%s\" wrong\r\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)), "a LOGOUT\r\n")
}

func imapLiteral(t *testing.T, addr, name string) {
	talk(t, addr, fmt.Sprintf("a LOGIN {%d+}\r\n%s wrong\r\n", len(name), name), "a LOGOUT\r\n")
}

func imapPlain(t *testing.T, addr, name string) {
	talk(t, addr, "a AUTHENTICATE PLAIN "+encode("\x00"+name+"\x00wrong")+"\r\n", "a LOGOUT\r\n")
}

func pop3User(t *testing.T, addr, name string) {
	talk(t, addr, "USER "+name+"\r\n", "PASS wrong\r\n", "QUIT\r\n")
}

func pop3Plain(t *testing.T, addr, name string) {
	talk(t, addr, "AUTH PLAIN "+encode("\x00"+name+"\x00wrong")+"\r\n", "QUIT\r\n")
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// talk sends each text and waits for a line in answer.
func talk(t *testing.T, addr string, texts ...string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for _, text := range append([]string{""}, texts...) { // the greeting comes unasked
		_, _ = c.Write([]byte(text))
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
	}
}

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "usher")
	if out, err := exec.Command("go", "build", "-o", program, "usher/cmd/usher").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

const configuration = `
[server]
state = "state"
user  = ""
log   = %q

[limit]
failure_delay = "0s"

[[listen]]
protocol = "imap"
addr     = ["127.0.0.1:0", "[::1]:0"]
tls      = "none"

[[listen]]
protocol = "pop3"
addr     = ["127.0.0.1:0", "[::1]:0"]
tls      = "none"

[[listen]]
protocol        = "imap"
addr            = ["127.0.0.1:0"]
tls             = "none"
cleartext_login = "never"
`

// start runs usher and returns its log file and its addresses: IMAP and POP3 on
// 127.0.0.1 and [::1], and IMAP that lets nobody log in.
func start(t *testing.T, program, format string) (logFile string, imap, pop3 []string, never string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "usher.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, format), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "usher.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	c := exec.CommandContext(ctx, program, "serve", "-c", config)
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		cancel()
	})
	a := addresses(t, log.Name(), 5)
	return log.Name(), a[0:2], a[2:4], a[4]
}

var listening = regexp.MustCompile(`listening.*addr"?[=:]"?([^ ",]+:\d+)`)

// addresses waits until the log names n of them.
func addresses(t *testing.T, log string, n int) (all []string) {
	t.Helper()
	for range 200 {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if found := listening.FindAllSubmatch(text, -1); len(found) == n {
			for _, f := range found {
				all = append(all, string(f[1]))
			}
			return all
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("usher does not listen")
	return nil
}

func TestFilter(t *testing.T) {
	need.Program(t, "fail2ban-regex")
	program := build(t)
	for _, format := range []string{"logfmt", "json"} {
		t.Run(format, func(t *testing.T) {
			log, imap, pop3, never := start(t, program, format)
			want := map[string]int{}
			for i, host := range []string{"127.0.0.1", "::1"} {
				want[host] = refused(t, imap[i], pop3[i])
				spare(t, imap[i], never)
			}
			checkLog(t, log, want)
			for _, prefix := range prefixes {
				checkLog(t, prefixed(t, log, prefix), want)
			}
			if format == "logfmt" {
				for _, prefix := range prefixes[2:4] { // log = "syslog"; log = "journal", as fail2ban puts it together
					checkLog(t, prefixed(t, withoutTime(t, log), prefix), want)
				}
			}
			for _, prefix := range others {
				checkLog(t, prefixed(t, log, prefix), map[string]int{})
			}
		})
	}
}

// refused makes logins that must count and returns how many.
func refused(t *testing.T, imap, pop3 string) (n int) {
	t.Helper()
	for i, try := range wrong {
		addr := imap
		if i >= 3 {
			addr = pop3
		}
		for _, name := range forged {
			try(t, addr, name)
			n++
		}
	}
	for _, end := range ends {
		for _, name := range forged {
			imapLiteral(t, imap, "a"+end+name+end)
			n++
		}
	}
	return n
}

// spare makes logins that must not count.
func spare(t *testing.T, imap, never string) {
	t.Helper()
	for _, name := range forged {
		for _, try := range otherwise {
			try(t, imap, name)
		}
		imapLogin(t, never, name)
	}
}

// What stands in front of a line in the files of syslog daemons and in the
// journal.
var prefixes = []string{
	"Jan  2 03:04:05 mail usher[123]: ",
	"2026-01-02T03:04:05.678901+01:00 mail usher[123]: ",
	"Jan  2 03:04:05 mail usher[123] ", // rsyslog, of RFC 5424
	"mail usher[123]: ",
	"usher: ",
}

// Lines of other programs, in which somebody else chooses the text.
var others = []string{
	"Jan  2 03:04:05 mail sshd[123]: Invalid user ",
	"Jan  2 03:04:05 mail sshd[123]: usher: ",
	"mail sshd[123]: usher[1]: ",
	"Jan  2 03:04:05 mail sshd[123]: usher[1] ",
}

func prefixed(t *testing.T, log, prefix string) string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		b.WriteString(prefix)
		b.Write(line)
	}
	name := filepath.Join(t.TempDir(), "prefixed.log")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var ownTime = regexp.MustCompile(`(?m)^time=\S* `)

// withoutTime is a log as it goes to syslog and the journal, which have a time of their
// own.
func withoutTime(t *testing.T, log string) string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "timeless.log")
	if err := os.WriteFile(name, ownTime.ReplaceAll(text, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// checkLog compares what fail2ban finds in a log: address and how often.
func checkLog(t *testing.T, log string, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for line := range strings.Lines(filter(t, log)) {
		got[strings.TrimSpace(line)]++
	}
	if !equal(got, want) {
		t.Errorf("found %v, want %v; in:\n%s", got, want, head(t, log))
	}
}

func equal(a, b map[string]int) bool {
	return fmt.Sprint(a) == fmt.Sprint(b) // sorted by key
}

func filter(t *testing.T, log string) string {
	t.Helper()
	conf, err := filepath.Abs("filter.d/usher.conf")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("fail2ban-regex", "-o", "<ip>", log, conf)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("fail2ban-regex: %v\n%s%s", err, out, stderr.Bytes())
	}
	return string(out)
}

func head(t *testing.T, log string) string {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(string(text)))
	return strings.Join(lines[:min(len(lines), 10)], "")
}

// The times are usher's own, also where the zone is not this machine's.
func TestTimes(t *testing.T) {
	need.Program(t, "fail2ban-regex")
	const rest = ` level=WARN msg="login refused" id=A protocol=imap remote=192.0.2.1:1 tls=no why="wrong name or password"`
	for text, want := range map[string]string{
		"time=2026-01-02T03:04:05.678Z" + rest:      "1767323045",
		"time=2026-01-02T03:04:05.678+02:00" + rest: "1767315845",
		`{"time":"2026-01-02T03:04:05.678901234-01:00","level":"WARN","msg":"login refused","id":"A","protocol":"imap",` +
			`"remote":"[fe80::1%eth0]:1","tls":"no","why":"wrong name or password","user":"x"}`: "1767326645",
	} {
		conf, _ := filepath.Abs("filter.d/usher.conf")
		out, err := exec.Command("fail2ban-regex", "-o", "<time>", text, conf).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s\nis at %s (%v), want %s", text, got, err, want)
		}
	}
}

// Whoever is not even looked at any more has guessed most of all.
func TestTooManyFailures(t *testing.T) {
	need.Program(t, "fail2ban-regex")
	for _, line := range []string{
		`time=2026-01-02T03:04:05.678Z level=WARN msg="login refused" id=A protocol=imap remote=192.0.2.1:1 tls=no why="too many failures" user=x err=y`,
		`{"time":"2026-01-02T03:04:05.678Z","level":"WARN","msg":"login refused","id":"A","protocol":"imap","remote":"192.0.2.1:1","tls":"no","why":"too many failures","user":"x"}`,
	} {
		name := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		checkLog(t, name, map[string]int{"192.0.2.1": 1})
	}
}

// The jail is one that fail2ban takes.
func TestJail(t *testing.T) {
	need.Program(t, "fail2ban-client")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("/etc/fail2ban")); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"filter.d", "jail.d"} {
		text, err := os.ReadFile(filepath.Join(part, "usher.conf"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, part, "usher.conf"), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Debian switches this one on, and its log may be missing here.
	if err := os.WriteFile(filepath.Join(dir, "jail.d", "test.local"), []byte("[sshd]\nenabled = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("fail2ban-client", "-c", dir, "-d").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "['start', 'usher']") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command("fail2ban-client", "-c", dir, "-t").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
