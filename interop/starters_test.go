package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// Other programs start usher here: inetd, Postfix, systemd, ssh's kin. Each serves the
// same accounts, with an usher in the background and without.

// background says whether there is one.
var background = map[string]bool{"beside an usher in the background": true, "by itself": false}

// withAndWithout runs a test in both worlds. The log of processes that cannot write one
// to standard error goes to a socket of the test's, as syslog.
func withAndWithout(t *testing.T, more string, test func(t *testing.T, p *proxy)) {
	t.Helper()
	d := newStore(t, "east", dovecot.Options{})
	for name, runs := range background {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // other programs take their time to start and to end
			p := prepare(t, setup{config: store("east", d, "none") + more, accounts: []account{checked(ann, annSecret, "east"), unchecked(bob, "east")}})
			if runs {
				p.run()
			}
			test(t, p)
		})
	}
}

// runs tells whether it was started.
func (p *proxy) runs() bool { return p.process != nil }

// who is the answer of usher who.
func (p *proxy) who() string { p.t.Helper(); return p.command("who", "--json") }

// freePort is one of the loopback's.
func freePort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// eventuallyDial connects to a port that somebody is about to open.
func eventuallyDial(t testing.TB, protocol, addr string) *client {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = nc.Close() })
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			return newClient(t, protocol, nc)
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens on %s: %v", addr, err)
		}
	}
}

// A starter is another program that has opened ports and starts usher for them.
type starter struct {
	p     *proxy
	addrs map[string]string // by imap, imaps, pop3, pop3s
}

// recommended are the lines of a file that administrators copy, in words. The first is the
// name of a port: imap, imaps, pop3, pop3s.
func recommended(t testing.TB, file string) (lines [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.Fields(line))
		}
	}
	if len(lines) != 4 {
		t.Fatalf("%s has %d lines, not one for each port", file, len(lines))
	}
	return lines
}

// client connects to a port and hears the greeting.
func (s starter) client(t testing.TB, port string) *client {
	t.Helper()
	c := eventuallyDial(t, strings.TrimSuffix(port, "s"), s.addrs[port])
	if strings.HasSuffix(port, "s") {
		c.secure(s.p.ca)
	}
	c.greeting()
	return c
}

// serves fails the test unless ann and bob find their mail by every protocol, with and
// without TLS.
func (s starter) serves(t testing.TB) {
	t.Helper()
	for port := range s.addrs {
		for _, u := range users {
			c := s.client(t, port)
			if port == "imap" && u.name == ann {
				c.startTLS(s.p.ca)
			}
			c.enter(u.name, u.password)
			c.finds(u.name, "east")
			if s.p.runs() && u.name == ann {
				who := s.p.who()
				if local := c.LocalAddr().String(); !strings.Contains(who, local) {
					t.Errorf("%s: usher who does not know of %s: %s", port, local, who)
				}
			}
			_ = c.Close()
		}
	}
}

// env is the environment of programs that start usher. What the race detector finds there
// goes to files, since nobody hears standard error.
func (p *proxy) env() []string {
	dir, err := os.MkdirTemp("/tmp", "race") // a name without a comma, which would end it
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		p.t.Fatal(err)
	}
	races := filepath.Join(dir, "race")
	p.t.Cleanup(func() {
		defer os.RemoveAll(dir)
		files, _ := filepath.Glob(races + ".*")
		for _, f := range files {
			text, _ := os.ReadFile(f)
			p.t.Errorf("the race detector says %s", text)
		}
	})
	return append(os.Environ(), "GORACE=atexit_sleep_ms=20 log_path="+races)
}

// runUntilEnd starts a program in the foreground, which is ended by its own number.
func runUntilEnd(t testing.TB, c *exec.Cmd) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it starts
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		_ = c.Wait()
		text, _ := os.ReadFile(log.Name())
		checkLog(t, string(text))
		if t.Failed() {
			t.Logf("%s said:\n%s", c.Path, text)
		}
		_ = log.Close()
	})
}

// guesses has so many wrong passwords tried, which nobody may have had before.
func (s starter) guesses(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		c := s.client(t, "imap")
		if answer := c.login(ann, fmt.Sprintf("wrong secret %d", i)); isOK(answer) {
			t.Fatalf("a wrong password is answered %s", answer)
		}
		_ = c.Close()
	}
}
