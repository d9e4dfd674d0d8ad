//go:build linux

package systemd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/systemd"
)

// A manager hears what systemd would hear.
type manager struct {
	t *testing.T
	*net.UnixConn
}

func newManager(t *testing.T) manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // t.TempDir has a longer name than a socket may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return manager{t, c}
}

// within returns the next words, or "" if there are none for so long.
func (m manager) within(most time.Duration) string {
	m.t.Helper()
	_ = m.SetReadDeadline(time.Now().Add(most))
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Fatal(err)
	}
	return string(b[:n])
}

func (m manager) next() string {
	m.t.Helper()
	words := m.within(20 * time.Second)
	if words == "" {
		m.t.Fatal("systemd hears nothing")
	}
	return words
}

// quiet is a notifier that must have nothing to log.
func quiet(t *testing.T) *systemd.Notifier {
	var log bytes.Buffer
	t.Cleanup(func() {
		if log.Len() > 0 {
			t.Errorf("logged: %s", &log)
		}
	})
	return &systemd.Notifier{Log: slog.New(slog.NewTextHandler(&log, nil))}
}

func TestSystemdHearsHowWeAre(t *testing.T) {
	m, n := newManager(t), quiet(t)
	for _, c := range []struct {
		say  func()
		want string
	}{
		{func() { n.Ready("12 sessions") }, "READY=1\nSTATUS=12 sessions"},
		{func() { n.Status("a\nMAINPID=1\r\nb") }, "STATUS=a MAINPID=1  b"},
		{func() { n.Stopping(90 * time.Second) }, "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000"},
		{func() { n.MainPID(os.Getpid()) }, fmt.Sprint("MAINPID=", os.Getpid())},
	} {
		c.say()
		if got := m.next(); got != c.want {
			t.Errorf("it hears %q, want %q", got, c.want)
		}
	}
}

// systemd would take the words of the old process for the service's: at its
// STOPPING it would kill the new one.
func TestTheOldProcessIsSilent(t *testing.T) {
	m, n := newManager(t), quiet(t)
	n.MainPID(4711)
	n.Stopping(time.Second)
	n.Status("1 session left")
	n.MainPID(os.Getpid()) // the new one has failed
	n.Status("5 sessions")
	for _, want := range []string{"MAINPID=4711", fmt.Sprint("MAINPID=", os.Getpid()), "STATUS=5 sessions"} {
		if got := m.next(); got != want {
			t.Errorf("systemd hears %q, want %q", got, want)
		}
	}
}

// systemd takes the READY of an earlier reload for this one's otherwise.
func TestAReloadHasItsTime(t *testing.T) {
	m := newManager(t)
	before := monotonic(t)
	quiet(t).Reloading()
	var at int64
	if _, err := fmt.Sscanf(m.next(), "RELOADING=1\nMONOTONIC_USEC=%d", &at); err != nil || at < before || at > monotonic(t) {
		t.Errorf("it began at %d, between %d and %d: %v", at, before, monotonic(t), err)
	}
}

func monotonic(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}

func TestWithoutSystemdAllIsSilent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	n := quiet(t)
	n.Ready("")
	n.Reloading()
	n.Stopping(0)
	n.MainPID(1)
	n.Watch(t.Context(), func() bool { t.Error("somebody asks whether we are alive"); return true })
}

func TestALostWordIsLoggedOnce(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	var log bytes.Buffer
	n := &systemd.Notifier{Log: slog.New(slog.NewTextHandler(&log, nil))}
	n.Ready("")
	n.Ready("")
	if s := log.String(); strings.Count(s, "level=WARN") != 1 || !strings.Contains(s, `word="READY=1"`) || !strings.Contains(s, "/gone") {
		t.Errorf("logged: %q", s)
	}
}

func TestTheWatchdogIsThatOfThisProcess(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		trouble   bool
	}{
		{"30000000", strconv.Itoa(os.Getpid()), 30 * time.Second, false},
		{"30000000", "1", 0, false},               // a parent's, who has it still
		{"30000000", "", 30 * time.Second, false}, // inherited by ChildEnv
		{"", "", 0, false},
		{"soon", "", 0, true},
		{"-1", "", 0, true},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		var log bytes.Buffer
		n := &systemd.Notifier{Log: slog.New(slog.NewTextHandler(&log, nil))}
		if got := n.Watchdog(); got != c.want || (log.Len() > 0) != c.trouble {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s is every %v, logged %q", c.usec, c.pid, got, &log)
		}
	}
}

// half is half of the watchdog's time in these tests.
const half = 10 * time.Millisecond

// watch watches until the returned function is called.
func watch(t *testing.T, alive func() bool) (stop func()) {
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt((2*half).Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n := quiet(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { n.Watch(ctx, alive); close(ended) }()
	return func() { cancel(); <-ended }
}

func TestSystemdHearsThatWeAreAlive(t *testing.T) {
	m := newManager(t)
	began := time.Now()
	stop := watch(t, func() bool { return true })
	for range 4 {
		if got := m.next(); got != "WATCHDOG=1" {
			t.Fatalf("it hears %q", got)
		}
	}
	if took := time.Since(began); took < 2*half {
		t.Errorf("four times within %v", took)
	}
	stop()
	for m.within(time.Millisecond) != "" { // on their way before the end
	}
	if got := m.within(5 * half); got != "" {
		t.Errorf("after the end it hears %q", got)
	}
}

func TestWhoSaysNoIsNotAlive(t *testing.T) {
	m := newManager(t)
	asked := make(chan bool)
	stop := watch(t, func() bool {
		select {
		case asked <- true:
		case <-t.Context().Done():
		}
		return false
	})
	for range 3 { // who asks again has done with the answer before
		<-asked
	}
	if got := m.within(2 * half); got != "" {
		t.Errorf("it hears %q", got)
	}
	stop()
}

func TestWhoHangsIsNotAlive(t *testing.T) {
	m := newManager(t)
	asked, answer := make(chan bool, 100), make(chan bool)
	stop := watch(t, func() bool { asked <- true; return <-answer })
	if got := m.within(5 * half); got != "" || len(asked) != 1 {
		t.Errorf("it hears %q, we were asked %d times", got, len(asked))
	}
	answer <- true
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("then it hears %q", got)
	}
	stop()
	close(answer)
}
