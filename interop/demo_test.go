package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

// A demo is a running usher demo and what a newcomer reads on the screen.
type demo struct {
	env     []string
	program string
	lines   []string // what it says to try
}

// startDemo runs it until the test ends, in a home of its own.
func startDemo(t *testing.T) *demo {
	t.Helper()
	home := t.TempDir()
	c := usher(t, "demo")
	c.Env = append(c.Env, "HOME="+home, "TMPDIR="+home)
	var log bytes.Buffer
	c.Stderr = &log
	screen, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pressCtrlC(t, c)
		checkLog(t, log.String())
		if left, _ := filepath.Glob(home + "/usher-demo-*"); len(left) > 0 {
			t.Errorf("it leaves %q behind", left)
		}
	})
	d := &demo{env: c.Env, program: c.Path}
	d.read(t, screen)
	return d
}

func pressCtrlC(t *testing.T, c *exec.Cmd) {
	_ = c.Process.Signal(os.Interrupt)
	if err := c.Wait(); err != nil {
		t.Errorf("%s: %v", c, err)
	}
}

// read takes the text up to its last line.
func (d *demo) read(t *testing.T, screen io.Reader) {
	t.Helper()
	for s := bufio.NewScanner(screen); s.Scan(); {
		if line, found := strings.CutPrefix(s.Text(), "  "); found {
			d.lines = append(d.lines, line)
		}
		if strings.Contains(s.Text(), "Ctrl-C ends everything") {
			return
		}
	}
	t.Fatal("usher demo has ended")
}

// commands are the lines that begin with a program's name.
func (d *demo) commands(program string) (list []string) {
	for _, l := range d.lines {
		if strings.HasPrefix(l, program+" ") {
			list = append(list, l)
		}
	}
	return list
}

// sh types a line.
func (d *demo) sh(line string) *exec.Cmd {
	c := exec.Command("sh", "-c", line)
	c.Env = d.env
	return c
}

func TestDemo(t *testing.T) {
	t.Parallel()
	need.Program(t, "curl")
	d := startDemo(t)
	curls := d.commands("curl")
	if len(curls) != 8 {
		t.Fatalf("%d lines of curl, want 8: %q", len(curls), d.lines)
	}
	for i, line := range curls {
		t.Run(fmt.Sprintf("line %d", i+1), func(t *testing.T) {
			out := output(t, d.sh(line))
			if want := expected(line, i); !strings.Contains(out, want) {
				t.Errorf("got\n%s\nwant %q", out, want)
			}
		})
	}
	own := d.commands(d.program) // as it was called: a newcomer has no usher in the PATH
	if len(own) != 2 {
		t.Fatalf("%d lines of usher: %q", len(own), d.lines)
	}
	for i, want := range []string{`ann@example\.org +north\nbob@example\.org +south\n`, `nobody is logged in`} {
		if out := output(t, d.sh(own[i])); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s:\n%s", own[i], out)
		}
	}
	t.Run("mutt", func(t *testing.T) { tryMutt(t, d) })
}

// expected is in the answer to a line that lists or, each second one, fetches.
func expected(line string, i int) string {
	switch {
	case i%2 == 1 && strings.Contains(line, "ann@"):
		return `this message lives on the store "north"`
	case i%2 == 1:
		return `this message lives on the store "south"`
	case strings.Contains(line, "pop3s:"):
		return "3 "
	}
	return "INBOX"
}

func tryMutt(t *testing.T, d *demo) {
	need.Program(t, "mutt")
	need.Program(t, "script")
	lines := d.commands("mutt")
	if len(lines) != 2 {
		t.Fatalf("%d lines of mutt, want 2", len(lines))
	}
	for _, line := range lines {
		want := "Welcome to north"
		if strings.Contains(line, "bob@") {
			want = "Welcome to south"
		}
		s := openTerminal(t, d, line)
		s.waitFor(want, "Create it?", "n") // ~/Mail
		s.press("q")
		s.end()
	}
}

// A terminal is a program on a screen.
type terminal struct {
	t       *testing.T
	program *exec.Cmd
	keys    io.WriteCloser
	ended   chan error

	mu     sync.Mutex
	screen bytes.Buffer
}

func openTerminal(t *testing.T, d *demo, line string) *terminal {
	t.Helper()
	s := &terminal{t: t, program: exec.Command("script", "-qefc", line, "/dev/null"), ended: make(chan error, 1)}
	s.program.Env = append(d.env, "TERM=xterm", "LANG=C", "COLUMNS=100", "LINES=30")
	s.program.Stdout, s.program.Stderr = s, s
	s.program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.keys, err = s.program.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-s.program.Process.Pid, syscall.SIGKILL) })
	go func() { s.ended <- s.program.Wait() }()
	return s
}

// Write is what the program shows.
func (s *terminal) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.Write(b)
}

var control = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])`)

// shown is all that has been shown, without control sequences.
func (s *terminal) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return control.ReplaceAllString(s.screen.String(), "")
}

// waitFor waits for a text, and if the program asks a question before, presses a key.
func (s *terminal) waitFor(text, question, key string) {
	s.t.Helper()
	asked := false
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		shown := s.shown()
		if strings.Contains(shown, text) {
			return
		}
		if !asked && strings.Contains(shown, question) {
			asked = true
			s.press(key)
		}
	}
	s.t.Fatalf("%q is not on the screen:\n%s", text, s.shown())
}

func (s *terminal) press(key string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, key); err != nil {
		s.t.Error(err)
	}
}

func (s *terminal) end() {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("%v\n%s", err, s.shown())
		}
	case <-time.After(10 * time.Second):
		s.t.Errorf("it does not end:\n%s", s.shown())
	}
}
