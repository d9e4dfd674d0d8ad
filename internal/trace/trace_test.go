package trace

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	home      = netip.MustParseAddrPort("192.0.2.7:40000")
	elsewhere = netip.MustParseAddrPort("198.51.100.1:40000")
	here      = netip.MustParseAddrPort("192.0.2.1:143")
)

// begin has traces with a log, of which one is on.
func begin(t *testing.T, o Order) (all *Traces, one Status, log *logged) {
	t.Helper()
	log = &logged{}
	all = &Traces{Log: slog.New(slog.NewTextHandler(log, nil))}
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "trace")
	}
	if o.For == 0 {
		o.For = time.Hour
	}
	one, err := all.Begin(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	return all, one, log
}

func is(want string) func(string) bool { return func(name string) bool { return name == want } }

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// files are what a trace has written, by the session.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		_, id, _ := strings.Cut(e.Name(), "-")
		all[id] = string(text)
	}
	return all
}

func TestWithoutATraceThereIsNoRecord(t *testing.T) {
	t.Parallel()
	var none *Traces
	for _, all := range []*Traces{none, {}} {
		if r := all.Record("A", "imap", home, here); r != nil {
			t.Errorf("there is %+v", r)
		}
	}
	var r *Record // and it takes whatever it is told
	r.Claims("user", "ann")
	r.From(home.Addr())
	r.Hide("secret")
	r.Note("x")
	r.End("x")
}

func TestATraceHasThoseWhomItIsOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		order Order
		want  bool
	}{
		{"the user as written", Order{User: "Ann", Means: is("Ann")}, true},
		{"the user as meant", Order{User: "x", Means: is("ann@example.org")}, true},
		{"another", Order{User: "bob", Means: is("bob")}, false},
		{"the protocol", Order{User: "Ann", Means: is("Ann"), Protocol: "imap"}, true},
		{"another protocol", Order{User: "Ann", Means: is("Ann"), Protocol: "pop3"}, false},
		{"the network", Order{Network: netip.MustParsePrefix("192.0.2.0/24")}, true},
		{"another network", Order{Network: netip.MustParsePrefix("203.0.113.0/24")}, false},
		{"where the client really is", Order{Network: netip.MustParsePrefix("198.51.100.1/32")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all, one, _ := begin(t, c.order)
			r := all.Record("A", "imap", home, here)
			l := r.Client()
			l.Said("hello")
			l.Heard("LOGIN ann secret")
			l.Shown(5)
			r.From(elsewhere.Addr())
			r.Claims("user", "Ann", "ann@example.org")
			r.End("over")
			r.End("twice")
			all.Close()
			text, ok := files(t, one.Folder)["A"]
			if ok != c.want {
				t.Fatalf("it is traced: %v, want %v", ok, c.want)
			}
			for _, want := range []string{" id A protocol imap remote 192.0.2.7:40000 ", ` S: "hello"` + "\n", ` C: "LOGIN" … up to 16 bytes not shown` + "\n", "over\n"} {
				if c.want && (strings.Count(text, want) != 1 || strings.Contains(text, "twice")) {
					t.Errorf("the trace is\n%s, want %q in it", text, want)
				}
			}
		})
	}
}

func TestOnlyTheOwnerReadsTraces(t *testing.T) {
	t.Parallel()
	all, one, _ := begin(t, Order{Network: netip.MustParsePrefix("0.0.0.0/0")})
	all.Record("A", "imap", home, here).End("over")
	all.Close()
	err := filepath.Walk(filepath.Dir(one.Folder), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || len(files(t, one.Folder)) != 1 {
		t.Errorf("%v, files %v", err, files(t, one.Folder))
	}
}

func TestATraceEndsByItself(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		all, one, log := begin(t, Order{User: "ann", Means: is("ann"), For: 10 * time.Minute, Dir: dir})
		r := all.Record("A", "imap", home, here)
		r.Claims("user", "ann")
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if list := all.List(); len(list) != 1 || list[0].ID != one.ID || list[0].Conversations != 1 {
			t.Errorf("before its time is over there are %+v", list)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.Note("too late")
		all.Close()
		if list := all.List(); len(list) != 0 || all.Record("B", "imap", home, here) != nil {
			t.Errorf("it is still on: %+v", list)
		}
		if !strings.Contains(log.String(), `why="its time is over"`) || strings.Count(log.String(), "trace ended") != 1 {
			t.Errorf("the log is\n%s", log)
		}
		if text := files(t, one.Folder)["A"]; strings.Contains(text, "too late") || !strings.Contains(text, `user "ann"`) {
			t.Errorf("it has written\n%s", text)
		}
	})
}

func TestATraceLastsADayAtMost(t *testing.T) {
	t.Parallel()
	all := &Traces{Log: slog.New(slog.DiscardHandler)}
	for _, length := range []time.Duration{0, -time.Second, Longest + 1} {
		if _, err := all.Begin(Order{For: length, Dir: t.TempDir()}); err == nil {
			t.Errorf("it begins for %v", length)
		}
	}
}

func TestThereAreFewTracesAtATime(t *testing.T) {
	t.Parallel()
	all, one, _ := begin(t, Order{User: "x", Means: is("x")})
	for range mostTraces - 1 {
		if _, err := all.Begin(one.Order); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.Begin(one.Order); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if n := all.End(one.ID, "enough") + all.End("", "enough"); n < mostTraces {
		t.Errorf("%d have ended", n)
	}
}

// A full disk, or an administrator who has cleaned up, ends the trace and nothing else.
func TestATraceThatCannotBeWrittenEnds(t *testing.T) {
	t.Parallel()
	all, one, log := begin(t, Order{User: "ann", Means: is("ann")})
	if err := os.RemoveAll(one.Folder); err != nil {
		t.Fatal(err)
	}
	r := all.Record("A", "imap", home, here)
	r.Claims("user", "ann")
	for end := time.Now().Add(10 * time.Second); len(all.List()) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	r.End("over")
	all.Close()
	if len(all.List()) > 0 || strings.Count(log.String(), "cannot write") != 1 {
		t.Errorf("there are %v, the log is\n%s", all.List(), log)
	}
}

func TestATraceIsBounded(t *testing.T) {
	t.Parallel()
	const most = 2 << 20
	all, one, log := begin(t, Order{User: "ann", Means: is("ann"), Most: most})
	line := strings.Repeat("x", 900)
	for i := 0; len(all.List()) > 0; i++ {
		if i > 10*most/mostEach {
			t.Fatal("it never ends")
		}
		r := all.Record(fmt.Sprint(i), "imap", home, here)
		r.Claims("user", "ann")
		for range 2 * mostEach / len(line) {
			r.Client().Said(line)
		}
		for len(all.List()) > 0 && len(all.list()) > 0 && len(all.list()[0].pieces) > waiting/2 {
			time.Sleep(time.Millisecond)
		}
	}
	all.Close()
	total := 0
	for id, text := range files(t, one.Folder) {
		total += len(text)
		if len(text) > mostEach+1000 {
			t.Errorf("of conversation %s %d bytes are written", id, len(text))
		}
	}
	if total > most || total < most/2 || !strings.Contains(log.String(), "all that it may") {
		t.Errorf("%d bytes are written, the log is\n%s", total, log)
	}
}

func TestLittleIsKeptOfThoseOfWhomNothingIsKnown(t *testing.T) {
	t.Parallel()
	all, one, _ := begin(t, Order{User: "ann", Means: is("ann")})
	r := all.Record("A", "imap", home, here)
	l := r.Client()
	for range 1000 {
		l.Heard("NOOP")
		l.Shown(1 << 20)
		l.Said(strings.Repeat("y", 10<<10))
	}
	if r.size > mostKept {
		t.Errorf("%d bytes are kept", r.size)
	}
	r.Claims("user", "ann")
	r.End("over")
	all.Close()
	text := files(t, one.Folder)["A"]
	if !strings.Contains(text, "lines were not kept\n") || !strings.Contains(text, "over\n") || len(text) > mostKept+1000 {
		t.Errorf("%d bytes are written, ending in %q", len(text), text[max(0, len(text)-300):])
	}
}

// Who talks never waits for a disk that hangs.
func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	hung := &trace{Order: Order{User: "ann", Means: is("ann")}, pieces: make(chan piece, 2)} // nobody writes
	all := &Traces{Log: slog.New(slog.DiscardHandler)}
	all.set([]*trace{hung})
	r := all.Record("A", "imap", home, here)
	r.Claims("user", "ann")
	for range 100 {
		r.Note("x")
	}
	if hung.lost.Load() < 90 {
		t.Errorf("%d pieces are lost", hung.lost.Load())
	}
}

func TestASecretIsFoundInAllItsForms(t *testing.T) {
	t.Parallel()
	all, one, _ := begin(t, Order{User: "ann", Means: is("ann")})
	r := all.Record("A", "imap", home, here)
	l := r.Server()
	said := []string{`pa"ss\wörd`, `pa\"ss\\wörd`, "cGEic3Ncd8O2cmQ=", "AGFubgBwYSJzc1x3w7ZyZA==", "eHBhInNzXHfDtnJk", "70612273735c77c3b67264", "70612273735C77C3B67264"}
	for _, s := range said { // told before it is known to be one …
		l.Heard("* OK " + s + " x")
	}
	r.Hide(`pa"ss\wörd`)
	for _, s := range said { // … and after
		l.Heard("* OK " + s + " x")
	}
	r.Claims("user", "ann")
	r.End("over")
	all.Close()
	text := files(t, one.Folder)["A"]
	for _, part := range []string{"wörd", "ss", "c3Nc", "73735", "Inn", "w7Zy", "InNz"} {
		if strings.Contains(text, part) {
			t.Errorf("%q is left in\n%s", part, text)
		}
	}
	if strings.Count(text, "***") != 2*len(said) {
		t.Errorf("the trace is\n%s", text)
	}
}

func TestWhatMayHoldAShortSecretIsNotShown(t *testing.T) {
	t.Parallel()
	all, one, _ := begin(t, Order{User: "ann", Means: is("ann")})
	r := all.Record("A", "imap", home, here)
	r.Hide("xyz")
	r.Hide("")
	r.Server().Heard("* NO xyz is wrong")
	r.Claims("user", "ann")
	r.End("over")
	all.Close()
	if text := files(t, one.Folder)["A"]; strings.Contains(text, "xyz") || !strings.Contains(text, "not shown") || !strings.Contains(text, `"ann"`) {
		t.Errorf("the trace is\n%s", text)
	}
}

func FuzzStar(f *testing.F) {
	f.Add("secret", "a", "b")
	f.Add("\x00\xff\"\\", "", "")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < shortest || strings.Contains(before+after+"***", secret) {
			return
		}
		var s secrets
		s.add(secret)
		if got := s.star(before + secret + after); strings.Contains(got, secret) && !strings.Contains(secret, "*") && !strings.Contains(before+"***"+after, secret) {
			t.Errorf("%q is left in %q", secret, got)
		}
	})
}

// What it costs a conversation that no trace is on.
func BenchmarkOff(b *testing.B) {
	all := &Traces{}
	for b.Loop() {
		all.Record("A", "imap", home, here)
	}
}
