package admin

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a process of usher as far as commands can see.
type daemon struct {
	pid       int
	reloading error
	upgraded  int // number of the new process; 0: it fails

	mu        sync.Mutex
	sessions  []Session
	drains    []time.Duration
	flushed   []string
	sources   []Source
	penalties []Penalty
	traces    []Trace
}

func (d *daemon) Process() Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Process{PID: d.pid, Version: "1.2", State: Serving, Since: noon, Sessions: len(d.sessions), Conversations: 3, Descriptors: 10, DescriptorLimit: 20, Sources: d.sources}
}

func (d *daemon) Sessions(who Selector) (list []Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.sessions {
		if who.Matches(x) {
			list = append(list, x)
		}
	}
	return list
}

func (d *daemon) Kick(who Selector) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var stay []Session
	for _, x := range d.sessions {
		if !who.Matches(x) {
			stay = append(stay, x)
		}
	}
	n = len(d.sessions) - len(stay)
	d.sessions = stay
	return n
}

func (d *daemon) Penalties() []Penalty {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.penalties
}

func (d *daemon) Forgive(whom Pardon) (n int, err error) {
	if whom.Network == "nonsense" {
		return 0, errors.New("nonsense is no network")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := slices.DeleteFunc(slices.Clone(d.penalties), func(p Penalty) bool {
		return whom.All || whom.User != "" && whom.User == p.User || whom.Network != "" && whom.Network == p.Network
	})
	n, d.penalties = len(d.penalties)-len(keep), keep
	return n, nil
}

func (d *daemon) Trace(w Watch, length time.Duration) (Trace, error) {
	if length > 24*time.Hour {
		return Trace{}, errors.New("too long")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	one := Trace{ID: "T1", User: w.User, Network: w.Network, Protocol: w.Protocol, Until: noon.Add(length), Folder: "/f", PID: d.pid}
	d.traces = append(d.traces, one)
	return one, nil
}

func (d *daemon) Traces() []Trace {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.traces)
}

func (d *daemon) Untrace(which Untrace) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := slices.DeleteFunc(slices.Clone(d.traces), func(x Trace) bool { return which.All || x.ID == which.ID })
	n, d.traces = len(d.traces)-len(keep), keep
	return n
}

func (d *daemon) Explain(_ context.Context, r Riddle) (Explanation, error) {
	return Explanation{User: r.User, Protocol: r.Protocol, Verdict: Unknown, PID: d.pid}, nil
}

func (d *daemon) Flush(user string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushed = append(d.flushed, user)
	return 3
}

func (d *daemon) Reload(context.Context) error { return d.reloading }

func (d *daemon) Upgrade(context.Context) (int, error) {
	if d.upgraded == 0 {
		return 0, errors.New("the new usher did not come up: exit status 1")
	}
	return d.upgraded, nil
}

func (d *daemon) Stop(drain time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drains = append(d.drains, drain)
}

func (d *daemon) stopped() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drains
}

// slow takes longer for an upgrade than a request may take.
type slow struct{ daemon }

func (d *slow) Upgrade(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(max(bodyTime, headerTime) + time.Second):
		return d.upgraded, nil
	}
}

// impatient is asked for an upgrade by somebody who leaves once it has begun.
type impatient struct {
	daemon
	begun func()
	ended chan error
}

func (d *impatient) Upgrade(ctx context.Context) (int, error) {
	d.begun()
	select {
	case <-ctx.Done():
	case <-time.After(300 * time.Millisecond): // net/http notices at once
	}
	d.ended <- ctx.Err()
	return 0, ctx.Err()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ann(pid int) Session {
	return Session{
		ID: "ANN0", User: "ann@example.org", Protocol: "imap", Remote: "192.0.2.1:1000",
		Backend: "east", Target: "east/10.0.0.1:143", TLS: "TLSv1.3", Since: noon, PID: pid,
	}
}

func bob(pid int) Session {
	return Session{
		ID: "BOB0", User: "bob@example.org", Protocol: "pop3", Remote: "[2001:db8::1]:1000",
		Backend: "west", Target: "west/imap2.example.org:110", TLS: "no", Since: noon.Add(-time.Hour), PID: pid,
	}
}

// start lets a process answer until the test ends.
func start(t *testing.T, path string, d *daemon, successor bool) *Server {
	t.Helper()
	s := &Server{Path: path, Daemon: d, Log: quiet(), Successor: successor, pid: d.pid}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// two starts a process that was replaced and its successor: ann's session is in
// the new one, bob's in the old one.
func two(t *testing.T) (path string, older, newer *daemon) {
	t.Helper()
	path = socket(t)
	older = &daemon{pid: 101, sessions: []Session{bob(101)}, penalties: []Penalty{{User: "ann", Guesses: 3, Until: noon, PID: 101}}}
	newer = &daemon{pid: 102, sessions: []Session{ann(102)}, penalties: []Penalty{{Network: "192.0.2.7/32", Guesses: 9, Friends: 2, Waiting: 3, Until: noon, PID: 102}}}
	start(t, path, older, false)
	start(t, path, newer, true)
	return path, older, newer
}

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "admin.sock") }

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("the error is %v, want one that says %q", err, w)
		}
	}
}

func TestOneAnswerIsAboutAllProcesses(t *testing.T) {
	path, _, _ := two(t)
	c := Dial(path)

	status, err := c.Status(t.Context())
	same(t, "error", err, nil)
	same(t, "number of processes", len(status.Processes), 2)
	same(t, "the first process", status.Processes[0], Process{PID: 102, Version: "1.2", State: Serving, Since: noon, Sessions: 1, Conversations: 3, Descriptors: 10, DescriptorLimit: 20})
	same(t, "the second process", status.Processes[1].PID, 101)

	all, err := c.Sessions(t.Context(), Selector{})
	same(t, "error", err, nil)
	same(t, "all sessions, the oldest first", all, Listing{Sessions: []Session{bob(101), ann(102)}})
	some, err := c.Sessions(t.Context(), Selector{User: "b*"})
	same(t, "error", err, nil)
	same(t, "sessions of b*", some.Sessions, []Session{bob(101)})
}

func TestNobodyIsAnEmptyList(t *testing.T) {
	path, _, _ := two(t)
	got, err := Dial(path).Sessions(t.Context(), Selector{User: "carl"})
	same(t, "error", err, nil)
	same(t, "sessions", got, Listing{Sessions: []Session{}})
}

func TestASessionThatMovesIsListedOnce(t *testing.T) {
	path, older, _ := two(t)
	older.sessions = append(older.sessions, ann(101))
	got, err := Dial(path).Sessions(t.Context(), Selector{})
	same(t, "error", err, nil)
	same(t, "number of sessions", len(got.Sessions), 2)
}

func TestAKickReachesAllProcesses(t *testing.T) {
	path, older, newer := two(t)
	got, err := Dial(path).Kick(t.Context(), Selector{User: "*@EXAMPLE.org"})
	same(t, "error", err, nil)
	same(t, "answer", got, Kicked{Kicked: 2})
	same(t, "sessions left", len(older.Sessions(Selector{}))+len(newer.Sessions(Selector{})), 0)
}

func TestAKickNeedsAWord(t *testing.T) {
	path, older, newer := two(t)
	_, err := Dial(path).Kick(t.Context(), Selector{})
	says(t, err, "a kick needs a user")
	same(t, "sessions left", len(older.Sessions(Selector{}))+len(newer.Sessions(Selector{})), 2)
}

func TestAFlushReachesAllProcesses(t *testing.T) {
	path, older, newer := two(t)
	for _, user := range []string{"ann", ""} {
		got, err := Dial(path).Flush(t.Context(), user)
		same(t, "error", err, nil)
		same(t, "answer", got, Flushed{Flushed: 6})
	}
	same(t, "whom the old process has flushed", older.flushed, []string{"ann", ""})
	same(t, "whom the new process has flushed", newer.flushed, []string{"ann", ""})
}

func TestAStopReachesAllProcesses(t *testing.T) {
	for _, drain := range []time.Duration{-1, 0, 10 * time.Minute} {
		path, older, newer := two(t)
		got, err := Dial(path).Stop(t.Context(), drain)
		same(t, "error", err, nil)
		same(t, "answer", got, Stopped{PIDs: []int{102, 101}})
		same(t, "drain of the old process", older.stopped(), []time.Duration{drain})
		same(t, "drain of the new process", newer.stopped(), []time.Duration{drain})
	}
}

func TestOnlyTheNewestProcessReloadsAndUpgrades(t *testing.T) {
	path, older, newer := two(t)
	older.reloading = errors.New("the old one was asked")
	newer.upgraded = 103
	same(t, "error of reload", Dial(path).Reload(t.Context()), nil)
	pid, err := Dial(path).Upgrade(t.Context())
	same(t, "error of upgrade", err, nil)
	same(t, "pid", pid, 103)
}

func TestTheAdministratorHearsEveryMistake(t *testing.T) {
	path := socket(t)
	start(t, path, &daemon{pid: 101, reloading: errors.New("usher.toml:1:1: a\nusher.toml:2:1: b")}, false)
	err := Dial(path).Reload(t.Context())
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Text != "usher.toml:1:1: a\nusher.toml:2:1: b" {
		t.Errorf("the error of reload is %v, want both lines", err)
	}
	_, err = Dial(path).Upgrade(t.Context())
	says(t, err, "the new usher did not come up: exit status 1")
}

func TestStopWaitsForTheLastProcess(t *testing.T) {
	path := socket(t)
	older := start(t, path, &daemon{pid: 101, sessions: []Session{bob(101), ann(101)}}, false)
	newer := start(t, path, &daemon{pid: 102, sessions: []Session{ann(102)}}, true)
	var shown []int
	err := Dial(path).Wait(t.Context(), []int{101, 102}, func(sessions int) {
		shown = append(shown, sessions)
		switch len(shown) {
		case 1:
			newer.Close()
		case 2:
			older.Close()
		}
	})
	same(t, "error", err, nil)
	same(t, "what was shown", shown, []int{3, 2})
}

func TestWaitingCanBeGivenUp(t *testing.T) {
	path := socket(t)
	start(t, path, &daemon{pid: 101}, false)
	ctx, cancel := context.WithCancel(t.Context())
	err := Dial(path).Wait(ctx, []int{101}, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Wait returned %v", err)
	}
}

func TestNoUsherIsToldAsSuch(t *testing.T) {
	_, err := Dial(socket(t)).Status(t.Context())
	var absent *NotReachable
	if !errors.As(err, &absent) {
		t.Fatalf("the error is %v, want a NotReachable", err)
	}
	says(t, err, "no usher answers at", "admin.sock: connect: no such file or directory")
}
