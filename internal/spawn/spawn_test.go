//go:build linux

package spawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets this program be the helper, too, as usher is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "helper" {
		os.Exit(Main(os.Args[2:]))
	}
	if role := os.Getenv("SPAWN_TEST_ROLE"); role != "" {
		os.Exit(play(role))
	}
	os.Exit(m.Run())
}

// Users of the tests; they need not be in /etc/passwd.
const (
	ann = 61001
	bob = 61002
)

// needRoot skips a test that starts programs as others.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start programs as others")
	}
}

// A stage is a helper with a folder of homes.
type stage struct {
	*Client
	t     testing.TB
	homes string
	mu    sync.Mutex
	heard []Event
	news  chan struct{} // has room for one: something was heard
}

// open starts a helper, and listens to its events.
func open(t testing.TB, change func(*Policy)) *stage {
	t.Helper()
	s := launch(t, change)
	s.listen()
	return s
}

// launch starts a helper that knows some programs.
func launch(t testing.TB, change func(*Policy)) *stage {
	t.Helper()
	s := &stage{t: t, homes: folderOf(t), news: make(chan struct{}, 1)}
	p := Policy{
		Caller: uint32(os.Getuid()), MinUID: 1000, MinGID: 1000, Homes: []string{s.homes},
		Programs: map[string]Program{
			"cat":  {Path: "/bin/cat", Args: []string{"cat"}},
			"sh":   {Path: "/bin/sh", Args: []string{"sh", "-c"}, Env: []string{"PATH=/usr/bin:/bin", "COLOUR=red"}, More: 3, Vars: []string{"USER", "MAIL_*", "COLOUR"}},
			"true": {Path: "/bin/true", Args: []string{"true"}},
			"gone": {Path: "/nowhere/imap", Args: []string{"imap"}},
			"text": {Path: "/etc/passwd", Args: []string{"passwd"}},
		},
	}
	if change != nil {
		change(&p)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if s.Client, err = Open(p, self); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *stage) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		_ = s.Events(ctx, s.hear)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-listening
	})
}

// folderOf is a new folder that all may pass, as far as the way to it allows: t.TempDir is 0700 for its parent.
func folderOf(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spawn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *stage) hear(e Event) {
	s.mu.Lock()
	s.heard = append(s.heard, e)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// soFar is what was heard until now.
func (s *stage) soFar() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard)
}

// wait returns the first event that is as wished.
func (s *stage) wait(what string, wished func(Event) bool) Event {
	s.t.Helper()
	over := time.After(20 * time.Second)
	for {
		if all := s.soFar(); slices.ContainsFunc(all, wished) {
			return all[slices.IndexFunc(all, wished)]
		}
		select {
		case <-s.news:
		case <-over:
			s.t.Fatalf("there was no event: %s; but %+v", what, s.soFar())
		}
	}
}

// home makes a user's home.
func (s *stage) home(name string, uid int) string {
	s.t.Helper()
	dir := filepath.Join(s.homes, name)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, uid)); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// request asks for a program as ann, in a home that is made.
func (s *stage) request(program string, args ...string) Request {
	s.t.Helper()
	dir := filepath.Join(s.homes, "ann")
	if _, err := os.Stat(dir); err != nil {
		s.home("ann", ann)
	}
	return Request{Program: program, UID: ann, GID: ann, Home: dir, Args: args, ID: "s1"}
}

// start starts a program that must start.
func (s *stage) start(r Request) (net.Conn, int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, pid, err := s.Start(ctx, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc, pid
}

// says runs a shell command as ann and returns what it says.
func (s *stage) says(r Request) string {
	s.t.Helper()
	nc, _ := s.start(r)
	out, err := io.ReadAll(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

// refused asks for what must be refused, and returns the reason.
func (s *stage) refused(r Request) string {
	s.t.Helper()
	text, no := s.failed(r)
	if !no {
		s.t.Fatalf("%q is an outage, not a refusal", text)
	}
	return text
}

// failed asks for what must fail, and tells whether it was refused.
func (s *stage) failed(r Request) (text string, refused bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, pid, err := s.Start(ctx, r)
	if err == nil {
		nc.Close()
		s.t.Fatalf("it was started, pid %d", pid)
	}
	var no *Refusal
	return err.Error(), errors.As(err, &no)
}

// echoes tells whether a session with cat still goes on.
func echoes(t testing.TB, nc net.Conn) {
	t.Helper()
	word := fmt.Sprintf("still here at %s\n", time.Now())
	if _, err := io.WriteString(nc, word); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil || got != word {
		t.Fatalf("heard %q, %v; want %q", got, err, word)
	}
}

// A user's program gets the session as its input and output.
func TestProgramTalksToTheClient(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	nc, pid := s.start(s.request("cat"))
	echoes(t, nc)
	if err := nc.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(nc); err != nil || len(rest) > 0 {
		t.Fatalf("at the end: %q, %v", rest, err)
	}
	e := s.wait("the end", func(e Event) bool { return e.Ended })
	if e.ID != "s1" || e.Program != "cat" || e.PID != pid || e.Status != "" {
		t.Errorf("the end was %+v", e)
	}
}

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not say %q", text, part)
	}
}

// status reads a line of /proc/PID/status.
func status(t testing.TB, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, name)
	return ""
}

// play is what another process of a test does.
func play(role string) int {
	var err error
	switch role {
	case "forger":
		err = forge()
	case "successor":
		err = succeed()
	case "stopper":
		err = stop()
	case "tracer":
		err = trace()
	case "nobody special":
		err = unprivileged()
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}
