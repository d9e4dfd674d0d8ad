//go:build linux

package spawn

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What runs for a user has his power and no more: uid, gid, groups, no capability.
func TestProgramHasExactlyTheUsersPower(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("cat")
	r.User = "root" // whose groups ann must not have: the uid differs
	_, pid := s.start(r)
	id := fmt.Sprint(ann)
	for name, want := range map[string]string{
		"Uid": strings.Repeat(id+" ", 3) + id, "Gid": strings.Repeat(id+" ", 3) + id, "Groups": id,
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapAmb": "0000000000000000",
		"NoNewPrivs": "1", "NSsid": fmt.Sprint(pid), "Umask": "0077",
		"SigBlk": "0000000000000000", "SigIgn": "0000000000000000",
	} {
		if got := status(t, pid, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := read(t, pid, "timerslack_ns"); got != "50000\n" {
		t.Errorf("its timers have a slack of %s", got)
	}
	if got := read(t, pid, "oom_score_adj"); strings.HasPrefix(got, "-") {
		t.Errorf("oom_score_adj is %s", got)
	}
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || got != r.Home {
		t.Errorf("it runs in %s, %v; want %s", got, err, r.Home)
	}
}

func read(t testing.TB, pid int, file string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A program has the session and its standard error, and nothing else of ours.
func TestProgramHasThreeDescriptors(t *testing.T) {
	needRoot(t)
	left, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // for every child, by mistake
	must(t, err)
	defer unix.Close(left)
	s := open(t, nil)
	_, pid := s.start(s.request("cat"))
	if got := descriptors(t, pid); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("it has the descriptors %v", got)
	}
	in, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", pid))
	out, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
	if in != out || !strings.HasPrefix(in, "socket:") {
		t.Errorf("its input is %s, its output %s: not one socket", in, out)
	}
}

func descriptors(t testing.TB, pid int) (names []string) {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// A program hears the variables of the policy, and those that a request may set.
func TestEnvironmentIsThePolicysAndTheRequests(t *testing.T) {
	needRoot(t)
	t.Setenv("SECRET_OF_USHER", "1")
	s := open(t, nil)
	r := s.request("sh", "cat")
	r.Env = []string{"USER=ann", "MAIL_PATH=x=y", "COLOUR=blue"}
	_, pid := s.start(r)
	got := strings.Split(strings.TrimRight(read(t, pid, "environ"), "\x00"), "\x00")
	slices.Sort(got)
	want := []string{"COLOUR=blue", "MAIL_PATH=x=y", "PATH=/usr/bin:/bin", "USER=ann"}
	if !slices.Equal(got, want) {
		t.Errorf("it hears %q, want %q", got, want)
	}
}

// Limits hold from a program's first instruction on.
func TestLimitsAreThePolicys(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Limits = Limits{Files: 77, Processes: 123, Memory: memoryLimit} })
	out := s.says(s.request("sh", "cat /proc/self/limits"))
	wanted := []string{"Max core file size 0 0", "Max open files 77 ", "Max processes 123 123"}
	if memoryLimit > 0 {
		wanted = append(wanted, fmt.Sprintf("Max data size %d %[1]d", memoryLimit))
	}
	for _, want := range wanted {
		contains(t, strings.Join(strings.Fields(out), " "), want)
	}
}

// The policy says who is served, and by what; nobody is served as root.
func TestRequestsBeyondThePolicyAreRefused(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) {
		p.MinUID, p.MinGID = 61000, 61000
		p.Programs["dovecot"] = Program{Path: "/bin/true", Args: []string{"imap", "-o"}, More: 2, Begins: []string{"mail_path=", ""}, Vars: []string{"HOME"}}
	})
	for name, c := range map[string]struct {
		change func(*Request)
		why    string
	}{
		"another program":   {func(r *Request) { r.Program = "rm" }, "there is no program"},
		"uid 0":             {func(r *Request) { r.UID = 0 }, "nothing is started as root"},
		"gid 0":             {func(r *Request) { r.GID = 0 }, "nothing is started as root"},
		"uid below least":   {func(r *Request) { r.UID = 60999 }, "below the least"},
		"gid below least":   {func(r *Request) { r.GID = 60999 }, "below the least"},
		"uid -1":            {func(r *Request) { r.UID = ^uint32(0) }, "below the least"},
		"gid -1":            {func(r *Request) { r.GID = ^uint32(0) }, "below the least"},
		"more arguments":    {func(r *Request) { r.Args = make([]string, 4) }, "more arguments"},
		"an option":         {func(r *Request) { r.Args = []string{"-o"} }, "dash"},
		"another setting":   {func(r *Request) { r.Program, r.Args = "dovecot", []string{"mail_plugin_dir=/x"} }, "does not begin with"},
		"another HOME":      {func(r *Request) { r.Program, r.Args, r.Env = "dovecot", nil, []string{"HOME=/x"} }, "only that has been looked at"},
		"NUL in argument":   {func(r *Request) { r.Args = []string{"a\x00b"} }, "letters"},
		"unknown variable":  {func(r *Request) { r.Env = []string{"BASH_ENV=/x"} }, "may be told"},
		"LD_PRELOAD":        {func(r *Request) { r.Env = []string{"LD_PRELOAD=/x"} }, "loaded"},
		"no variable":       {func(r *Request) { r.Env = []string{"USER"} }, "no variable"},
		"empty name":        {func(r *Request) { r.Env = []string{"=x"} }, "no variable"},
		"NUL in variable":   {func(r *Request) { r.Env = []string{"USER=a\x00b"} }, "no variable"},
		"twice":             {func(r *Request) { r.Env = []string{"USER=a", "USER=b"} }, "twice"},
		"too much":          {func(r *Request) { r.Env = []string{"USER=" + strings.Repeat("x", maxRequest)} }, "bytes"},
		"not UTF-8":         {func(r *Request) { r.Home += "\xff" }, "UTF-8"},
		"home elsewhere":    {func(r *Request) { r.Home = "/var" }, "is not beneath"},
		"home is root":      {func(r *Request) { r.Home = filepath.Dir(r.Home) }, "is not beneath"},
		"home by dots":      {func(r *Request) { r.Home += "/../../x" }, "absolute and plain"},
		"home is relative":  {func(r *Request) { r.Home = "ann" }, "absolute and plain"},
		"no home":           {func(r *Request) { r.Home = "" }, "absolute and plain"},
		"NUL in home":       {func(r *Request) { r.Home += "\x00" }, "letters"},
		"home of the maker": {func(r *Request) { r.Home = filepath.Dir(r.Home) + "/" + stale + "x" }, "not finished"},
		"long ID":           {func(r *Request) { r.ID = strings.Repeat("x", 201) }, "too long"},
	} {
		r := s.request("sh", "exit")
		c.change(&r)
		if got := s.refused(r); !strings.Contains(got, c.why) {
			t.Errorf("%s: %q does not say %q", name, got, c.why)
		}
	}
}

// Usher's own user is nobody to start programs as: they could take usher over.
func TestUshersOwnUserIsRefused(t *testing.T) {
	w := &worker{policy: &Policy{Caller: ann, Programs: map[string]Program{"x": {}}}, actor: actor{able: true}}
	w.policy.Group = bob
	for _, r := range []Request{{Program: "x", UID: ann, GID: ann}, {Program: "x", UID: bob, GID: bob}} {
		if err := w.permits(&r); err == nil || !strings.Contains(err.Error(), "usher's own") {
			t.Errorf("uid %d, gid %d: it is %v", r.UID, r.GID, err)
		}
	}
	if err := w.permits(&Request{Program: "x", UID: bob, GID: ann}); err != nil {
		t.Errorf("another: %v", err)
	}
}

// A program that cannot run is an outage, and the error says what is wrong with it.
func TestProgramsThatCannotRunSayWhy(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) {
		p.Programs["garbage"] = Program{Path: folderOf(t) + "/garbage", Args: []string{"x"}}
		if err := os.WriteFile(p.Programs["garbage"].Path, []byte("\x7fELF\x00"), 0o755); err != nil {
			t.Fatal(err)
		}
		p.Programs["secret"] = Program{Path: folderOf(t) + "/secret", Args: []string{"x"}}
		if err := os.WriteFile(p.Programs["secret"].Path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	})
	for program, want := range map[string]string{"gone": "no such file", "text": "cannot be executed", "garbage": "no form that this machine can run", "secret": "as uid 61001"} {
		text, no := s.failed(s.request(program))
		if contains(t, text, want); no {
			t.Errorf("%q is a refusal", text)
		}
	}
	echoes(t, first(s.start(s.request("cat"))))
}

func first[A, B any](a A, _ B) A { return a }

// A relative path, or one with dots, is no program: the helper does not begin.
func TestPolicyWithMistakesIsNotBegun(t *testing.T) {
	good := Program{Path: "/bin/cat", Args: []string{"cat"}}
	for name, p := range map[string]Policy{
		"nothing":       {},
		"relative":      {Programs: map[string]Program{"x": {Path: "cat", Args: []string{"cat"}}}},
		"dots":          {Programs: map[string]Program{"x": {Path: "/bin/../cat", Args: []string{"cat"}}}},
		"no name":       {Programs: map[string]Program{"x": {Path: "/bin/cat"}}},
		"linker":        {Programs: map[string]Program{"x": {Path: "/bin/cat", Args: []string{"cat"}, Env: []string{"LD_LIBRARY_PATH=/x"}}}},
		"beginnings":    {Programs: map[string]Program{"x": {Path: "/bin/cat", Args: []string{"cat"}, More: 1, Begins: []string{"a", "b"}}}},
		"homes":         {Programs: map[string]Program{"x": good}, Homes: []string{"home"}},
		"create":        {Programs: map[string]Program{"x": good}, Create: &Create{}},
		"mode":          {Programs: map[string]Program{"x": good}, Homes: []string{"/home"}, Create: &Create{Mode: 0o707}},
		"setuid mode":   {Programs: map[string]Program{"x": good}, Homes: []string{"/home"}, Create: &Create{Mode: 0o700 | os.ModeSetuid}},
		"maildir":       {Programs: map[string]Program{"x": good}, Homes: []string{"/home"}, Create: &Create{Maildir: "../x"}},
		"hook":          {Programs: map[string]Program{"x": good}, Homes: []string{"/home"}, Create: &Create{Hook: []string{"hook"}}},
		"little memory": {Programs: map[string]Program{"x": good}, Limits: Limits{Memory: 1}},
	} {
		if c, err := Open(p, "/proc/self/exe"); err == nil {
			c.Close()
			t.Errorf("%s: it was begun", name)
		}
	}
}

// What a program says on standard error, and how it ended, is heard.
func TestLastWordsAndEndAreHeard(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	r := s.request("sh", "echo one >&2; printf 'two\nthree' >/dev/stderr; exit 89")
	if out := s.says(r); out != "" {
		t.Errorf("the client heard %q", out)
	}
	e := s.wait("the end", func(e Event) bool { return e.Ended })
	if e.Status != "exit status 89" || e.ID != "s1" {
		t.Errorf("the end is %+v", e)
	}
	var lines []string
	for _, e := range s.soFar() {
		if e.Line != "" {
			lines = append(lines, e.Line)
		}
	}
	if !slices.Equal(lines, []string{"one", "two", "three"}) {
		t.Errorf("the lines are %q", lines)
	}
	s.says(s.request("sh", "kill -9 $$"))
	s.wait("a signal", func(e Event) bool { return e.Status == "signal: killed" })
}

// A program that shouts is heard in part, and nobody else waits for it.
func TestShoutingBlocksNobody(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	nc, _ := s.start(s.request("sh", "i=0; while [ $i -lt 20000 ]; do echo "+strings.Repeat("x", 3000)+"; i=$((i+1)); done >&2"))
	echoes(t, first(s.start(s.request("cat"))))
	e := s.wait("a line", func(e Event) bool { return strings.HasPrefix(e.Line, "xxx") })
	if len(e.Line) > maxLine+len("…") || !strings.HasSuffix(e.Line, "…") {
		t.Errorf("a line of 3000 bytes became one of %d", len(e.Line))
	}
	nc.Close()
}

// Nobody has to listen: the helper does not wait for it, and tells how much was lost.
func TestNobodyHasToListen(t *testing.T) {
	needRoot(t)
	s := launch(t, nil)
	for range 5 {
		nc, _ := s.start(s.request("sh", "i=0; while [ $i -lt 200 ]; do echo "+strings.Repeat("y", 900)+"; i=$((i+1)); done >&2"))
		io.Copy(io.Discard, nc)
	}
	echoes(t, first(s.start(s.request("cat"))))
	s.listen()
	s.says(s.request("sh", "echo afterwards >&2"))
	s.wait("that something was lost", func(e Event) bool { return e.Lost > 0 })
}
