package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"usher/internal/admin"
)

// running is an usher that does what it is told, and no more.
type running struct {
	sessions  []admin.Session
	reload    error
	upgrade   error
	stop      func()
	drain     time.Duration
	flushed   map[string]int // entries of users; "": of all
	sources   []admin.Source
	relay     []admin.Relay
	alone     bool
	penalties []admin.Penalty
	forgiven  []admin.Pardon
	tracing   func(admin.Watch, time.Duration) (admin.Trace, error)
	traces    func() []admin.Trace
	untraced  []admin.Untrace
}

func (r *running) Process() admin.Process {
	return admin.Process{
		PID: os.Getpid(), Version: "1.2", State: admin.Serving, Since: morning,
		Sessions: len(r.sessions), Conversations: 3, Descriptors: 70, DescriptorLimit: 20000,
		Relay: r.relay, Alone: r.alone, Sources: r.sources,
	}
}

func (r *running) Sessions(who admin.Selector) (list []admin.Session) {
	for _, x := range r.sessions {
		if who.Matches(x) {
			list = append(list, x)
		}
	}
	return list
}

func (r *running) Explain(_ context.Context, q admin.Riddle) (admin.Explanation, error) {
	return admin.Explanation{User: q.User, Name: q.User, Protocol: q.Protocol, PID: 4711, Verdict: admin.Found}, nil
}

func (r *running) Penalties() []admin.Penalty { return r.penalties }

func (r *running) Forgive(whom admin.Pardon) (n int, err error) {
	r.forgiven = append(r.forgiven, whom)
	return len(r.penalties), nil
}

func (r *running) Trace(w admin.Watch, length time.Duration) (admin.Trace, error) {
	return r.tracing(w, length)
}

func (r *running) Traces() []admin.Trace { return r.traces() }

func (r *running) Untrace(which admin.Untrace) int {
	r.untraced = append(r.untraced, which)
	return len(r.traces())
}

func (r *running) Kick(who admin.Selector) int { return len(r.Sessions(who)) }

func (r *running) Flush(user string) int { return r.flushed[user] }

func (r *running) Reload(context.Context) error { return r.reload }

func (r *running) Upgrade(context.Context) (int, error) { return 4711, r.upgrade }

func (r *running) Stop(drain time.Duration) {
	r.drain = drain
	r.stop()
}

var morning = time.Date(2026, 11, 20, 9, 5, 0, 0, time.Local)

// runUsher starts an usher to talk to.
func runUsher(t *testing.T) (path string, r *running) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	r = &running{sessions: []admin.Session{
		{ID: "A0", User: "ann@example.org", Protocol: "imap", Remote: "192.0.2.1:1000", Backend: "east", Target: "east/10.0.0.1:143", TLS: "TLSv1.3", Since: morning},
		{ID: "B0", User: "bob\t\x1b[2J", Protocol: "pop3", Remote: "[2001:db8::1]:50000", Backend: "west", Target: "10.0.0.2:110", TLS: "no", Since: morning.Add(time.Hour)},
	}}
	s := &admin.Server{Path: path, Daemon: r, Log: slog.New(slog.DiscardHandler)}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { s.Close() })
	r.stop = func() { go end() }
	t.Cleanup(end)
	return path, r
}

// ask runs a command, and returns what it prints and its exit status.
func ask(t *testing.T, path string, args ...string) (out, complaints string, status int) {
	t.Helper()
	var o, e strings.Builder
	root := newRoot()
	root.SetArgs(append(args, "--admin", path))
	root.SetOut(&o)
	root.SetErr(&e)
	err := root.ExecuteContext(t.Context())
	if err != nil {
		e.WriteString(err.Error() + "\n")
		status = statusCannotTell
		if f, ok := errors.AsType[failure](err); ok {
			status = f.status
		}
	}
	return o.String(), e.String(), status
}

func TestWhoIsATable(t *testing.T) {
	path, _ := runUsher(t)
	out, complaints, status := ask(t, path, "who")
	want := "" +
		"USER             PROTOCOL  REMOTE               TLS      TARGET             SINCE                ID\n" +
		"ann@example.org  imap      192.0.2.1:1000       TLSv1.3  east/10.0.0.1:143  2026-11-20 09:05:00  A0\n" +
		`"bob\t\x1b[2J"   pop3      [2001:db8::1]:50000  no       west/10.0.0.2:110  2026-11-20 10:05:00  B0` + "\n"
	if out != want || complaints != "" || status != 0 {
		t.Errorf("usher who prints\n%s%sstatus %d, want\n%s", out, complaints, status, want)
	}
}

// A user may choose a name so that the table seems to say something else, or
// cannot be read any more.
func TestANameCannotSpoilTheTable(t *testing.T) {
	for name, want := range map[string]string{
		"ann@example.org":        "ann@example.org",
		"jürgen":                 "jürgen",
		"root  imap  192.0.2.1":  `"root  imap  192.0.2.1"`,
		"a\u009b2Jb":             `"a\u009b2Jb"`,
		"\u202enna":              `"\u202enna"`,
		strings.Repeat("ü", 500): strings.Repeat("ü", 64) + "…",
	} {
		if got := printable(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

func TestJSONDoesNothingToATerminal(t *testing.T) {
	name := "a\u009b2J\x7f\u202e\u200b\U000e0001ü"
	var out strings.Builder
	if err := printJSON(&out, []string{name}); err != nil {
		t.Fatal(err)
	}
	if bad := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); bad >= 0 {
		t.Errorf("%q has a character at %d that a terminal may obey", out.String(), bad)
	}
	var back []string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || len(back) != 1 || back[0] != name {
		t.Errorf("%s is read as %q, %v", out.String(), back, err)
	}
}

func TestAnAdministratorAsksTheRunningUsher(t *testing.T) {
	path, r := runUsher(t)
	r.flushed = map[string]int{"": 7, "ann": 1}
	pid := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		args            string
		out, complaints string
		status          int
	}{
		{"who carl", "", "nobody like that is logged in\n", 1},
		{"who --backend 10.0.0.9", "", "nobody like that is logged in\n", 1},
		{"who carl --json", "[]\n", "nobody like that is logged in\n", 1},
		{"kick ANN*", "kicked 1 session\n", "", 0},
		{"kick *", "kicked 2 sessions\n", "", 0},
		{"kick --session b0", "kicked 1 session\n", "", 0},
		{"kick --backend north", "", "nobody like that is logged in\n", 1},
		{"kick ann@example.org --backend west", "", "nobody like that is logged in\n", 1},
		{"flush", "flushed 7 entries\n", "", 0},
		{"flush ann", "flushed 1 entry\n", "", 0},
		{"flush carl", "flushed 0 entries\n", "", 0},
		{"reload", "", "", 0},
		{"upgrade", "4711\n", "", 0},
		{"status", "" +
			"PID" + strings.Repeat(" ", len(pid)-1) + "STATE    SINCE                SESSIONS  CLIENTS  DESCRIPTORS  VERSION\n" +
			pid + "  serving  2026-11-20 09:05:00  2         3        70 of 20000  1.2\n", "", 0},
	} {
		out, complaints, status := ask(t, path, strings.Fields(c.args)...)
		if out != c.out || complaints != c.complaints || status != c.status {
			t.Errorf("usher %s prints\n%s%sstatus %d, want\n%s%sstatus %d", c.args, out, complaints, status, c.out, c.complaints, c.status)
		}
	}
	r.reload, r.upgrade = errors.New("usher.toml:1:1: one\nusher.toml:2:1: two"), errors.New("it did not come up")
	if _, complaints, status := ask(t, path, "reload"); complaints != "usher.toml:1:1: one\nusher.toml:2:1: two\n" || status != statusNo {
		t.Errorf("reload says %q, status %d", complaints, status)
	}
	if out, complaints, status := ask(t, path, "upgrade"); out != "" || complaints != "it did not come up\n" || status != statusNo {
		t.Errorf("upgrade says %q and %q, status %d", out, complaints, status)
	}
}

func TestStatusShowsTheRelayProcess(t *testing.T) {
	path, r := runUsher(t)
	r.relay = []admin.Relay{{PID: 7, Version: "1.1", State: "replaced", Sessions: 1}, {PID: 8, Version: "1.2", State: "relaying", Sessions: 2}}
	out, complaints, status := ask(t, path, "status")
	for _, want := range []string{`(?m)^7 +replaced +- +1 +- +- +1\.1$`, `(?m)^8 +relaying +- +2 +- +- +1\.2$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("usher status prints\n%s, which is not like %s", out, want)
		}
	}
	if complaints != "" || status != 0 || strings.Contains(out, "no relay process") {
		t.Errorf("usher status prints\n%s%sstatus %d", out, complaints, status)
	}
	r.relay, r.alone = nil, true
	out, _, _ = ask(t, path, "status")
	if want := "there is no relay process: new sessions end with process " + strconv.Itoa(os.Getpid()); !strings.Contains(out, want) {
		t.Errorf("usher status prints\n%s, without %q", out, want)
	}
}

func TestARelayProcessOfSeveralIsSeenOnce(t *testing.T) {
	one := admin.Relay{PID: 7, State: "relaying", Sessions: 1}
	got := relays([]admin.Process{{Relay: []admin.Relay{one}}, {Relay: []admin.Relay{{PID: 8}, one}}})
	if len(got) != 2 || got[0].PID != 7 || got[0].Sessions != 2 || got[1].PID != 8 {
		t.Errorf("they are %+v", got)
	}
}

func TestStatusShowsSourcesAndWhichOfTheirServersFail(t *testing.T) {
	path, r := runUsher(t)
	r.sources = []admin.Source{
		{Name: "sql"},
		{Name: "l dap", Entries: 120, Unknown: 3, Hits: 999, Misses: 1, Stale: 4, Oldest: 5400, Servers: []admin.SourceServer{
			{Server: "ldap1", Well: true, Since: morning}, {Server: "ldap2", Since: morning, Error: "refused\x1b[2J"},
		}},
	}
	out, complaints, status := ask(t, path, "status")
	_, out, _ = strings.Cut(out, "\n\n")
	pid := strconv.Itoa(os.Getpid())
	want := "" +
		"PID" + strings.Repeat(" ", len(pid)-1) + "SOURCE   ENTRIES  UNKNOWN  HITS  MISSES  HIT RATIO  STALE  OLDEST   SERVERS\n" +
		pid + "  sql      0        0        0     0       -          0      0s       -\n" +
		pid + "  \"l dap\"  120      3        999   1       99%        4      1h30m0s  1 of 2 well\n" +
		"\n\"l dap\": ldap2 is down since 2026-11-20 09:05:00: refused [2J\n"
	if out != want || complaints != "" || status != 0 {
		t.Errorf("usher status prints\n%s%sstatus %d, want\n%s", out, complaints, status, want)
	}
}

func TestProgramsReadJSON(t *testing.T) {
	path, r := runUsher(t)
	var sessions []admin.Session
	out, _, _ := ask(t, path, "who", "--json")
	if err := json.Unmarshal([]byte(out), &sessions); err != nil || len(sessions) != 2 || sessions[1].User != r.sessions[1].User {
		t.Errorf("who --json prints %s (%v)", out, err)
	}
	var processes []admin.Process
	out, _, _ = ask(t, path, "status", "--json")
	if err := json.Unmarshal([]byte(out), &processes); err != nil || len(processes) != 1 || processes[0].DescriptorLimit != 20000 {
		t.Errorf("status --json prints %s (%v)", out, err)
	}
}

func TestAnEmptyHouseIsNoError(t *testing.T) {
	path, r := runUsher(t)
	r.sessions = nil
	if out, complaints, status := ask(t, path, "who"); out != "" || complaints != "nobody is logged in\n" || status != 0 {
		t.Errorf("who prints %q and %q, status %d", out, complaints, status)
	}
	if out, complaints, status := ask(t, path, "who", "--json"); out != "[]\n" || complaints != "nobody is logged in\n" || status != 0 {
		t.Errorf("who --json prints %q and %q, status %d", out, complaints, status)
	}
}

func TestStopReturnsWhenUsherIsGone(t *testing.T) {
	for args, want := range map[string]time.Duration{"stop": -1, "stop --drain 10m": 10 * time.Minute, "stop --drain 0s": 0} {
		path, r := runUsher(t)
		end := r.stop
		r.stop = func() { time.AfterFunc(50*time.Millisecond, end) }
		out, complaints, status := ask(t, path, strings.Fields(args)...)
		if out != "" || complaints != "stopping: 2 sessions left\n" || status != 0 {
			t.Errorf("usher %s prints %q and %q, status %d", args, out, complaints, status)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("usher %s did not wait", args)
		}
		if r.drain != want {
			t.Errorf("usher %s drains for %v", args, r.drain)
		}
	}
}

func TestStopNeedNotWait(t *testing.T) {
	path, r := runUsher(t)
	r.stop = func() {} // never
	if out, complaints, status := ask(t, path, "stop", "--no-wait"); out+complaints != "" || status != 0 {
		t.Errorf("stop --no-wait prints %q and %q, status %d", out, complaints, status)
	}
}

// A process that hangs may have sessions of its own: whoever asks must know.
func TestAnAnswerThatIsNotAllIsNoAnswer(t *testing.T) {
	path, _ := runUsher(t)
	ln, err := net.Listen("unix", path+".999999999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, args := range []string{"who", "kick ann*", "flush ann", "status"} {
		out, complaints, status := ask(t, path, strings.Fields(args)...)
		if out == "" || !strings.HasPrefix(complaints, "process 999999999 of usher does not answer: ") || status != statusCannotTell {
			t.Errorf("usher %s prints %q and %q, status %d", args, out, complaints, status)
		}
	}
}

// An administrator who may not open the socket is told so, not that usher is down.
func TestTheSocketIsNotForEverybody(t *testing.T) {
	err := told(&admin.NotReachable{Path: "/run/usher/admin.sock", Err: os.ErrPermission})
	if !strings.HasSuffix(err.Error(), "; try as root, or as the user that usher runs as") || strings.Contains(err.Error(), "is usher running") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheSocketIsWhereTheConfigurationSays(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	usual := "/run/usher/admin.sock"
	for text, want := range map[string]string{
		"":                             usual,
		"[server]\nlog = \"xml\"":      usual,
		"[server]\nadmin = \"a.sock\"": filepath.Join(dir, "a.sock"),
	} {
		write(t, dir, "usher.toml", text)
		if got, err := (&adminFlags{}).path(); got != want || err != nil {
			t.Errorf("with %q the socket is %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestPenaltiesAreATable(t *testing.T) {
	path, r := runUsher(t)
	out, complaints, status := ask(t, path, "penalty", "list")
	if out != "" || complaints != "nothing is held against anybody\n" || status != 0 {
		t.Errorf("without any it prints %q %q, status %d", out, complaints, status)
	}
	r.penalties = []admin.Penalty{
		{Network: "192.0.2.7/32", Guesses: 12, Friends: 1, Waiting: 3, Until: morning, PID: 7},
		{User: "ann\x1b[2J", Guesses: 2, Until: morning, PID: 7},
	}
	out, complaints, status = ask(t, path, "penalty", "list")
	want := "" +
		"NETWORK OR NAME  GUESSES  FRIENDS  WAITING  UNTIL                PID\n" +
		"192.0.2.7/32     12       1        3        2026-11-20 09:05:00  7\n" +
		`"ann\x1b[2J"     2        0        0        2026-11-20 09:05:00  7` + "\n"
	if out != want || complaints != "" || status != 0 {
		t.Errorf("it prints\n%s%sstatus %d, want\n%s", out, complaints, status, want)
	}
	out, _, _ = ask(t, path, "penalty", "list", "--json")
	var list []admin.Penalty
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 || list[0] != r.penalties[0] {
		// Until is local time: compared by its instant
		if len(list) != 2 || !list[0].Until.Equal(morning) {
			t.Errorf("as JSON it is %s, %v", out, err)
		}
	}
}

func TestWhoIsForgivenIsWhoWasNamed(t *testing.T) {
	path, r := runUsher(t)
	for _, c := range []struct {
		args []string
		want admin.Pardon
	}{
		{[]string{"192.0.2.0/24"}, admin.Pardon{Network: "192.0.2.0/24"}},
		{[]string{"2001:db8::1"}, admin.Pardon{Network: "2001:db8::1"}},
		{[]string{"ann@example.org"}, admin.Pardon{User: "ann@example.org"}},
		{[]string{"--all"}, admin.Pardon{All: true}},
	} {
		r.penalties, r.forgiven = nil, nil
		_, complaints, status := ask(t, path, append([]string{"penalty", "forgive"}, c.args...)...)
		if status != statusNo || complaints != "nothing is held against anybody like that\n" {
			t.Errorf("%v: %q, status %d, where there is nothing to forgive", c.args, complaints, status)
		}
		r.penalties = []admin.Penalty{{User: "x"}}
		out, complaints, status := ask(t, path, append([]string{"penalty", "forgive"}, c.args...)...)
		if out != "forgiven: 1\n" || complaints != "" || status != 0 || r.forgiven[1] != c.want {
			t.Errorf("%v: %q %q, status %d, of %+v", c.args, out, complaints, status, r.forgiven)
		}
	}
	for _, args := range [][]string{{}, {""}, {"ann", "--all"}} {
		if _, complaints, status := ask(t, path, append([]string{"penalty", "forgive"}, args...)...); status != statusUsage || !strings.Contains(complaints, "--all") {
			t.Errorf("%q: %q, status %d", args, complaints, status)
		}
	}
}
