package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/admin"
)

// tracing has usher trace what writes says, for a few questions.
func tracing(t *testing.T, r *running, questions int, write func(folder string)) (asked *admin.Watch) {
	t.Helper()
	one := admin.Trace{ID: "T1", User: "ann\x1b", Folder: t.TempDir(), Until: morning, Conversations: 2}
	asked = &admin.Watch{}
	r.tracing = func(w admin.Watch, length time.Duration) (admin.Trace, error) {
		*asked = w
		if length > 24*time.Hour {
			return admin.Trace{}, errors.New("a trace cannot last that long")
		}
		write(one.Folder)
		return one, nil
	}
	r.traces = func() []admin.Trace {
		if questions--; questions < 0 {
			return nil
		}
		return []admin.Trace{one}
	}
	return asked
}

func TestATraceIsShownAsItComes(t *testing.T) {
	path, r := runUsher(t)
	asked := tracing(t, r, 1, func(folder string) {
		write(t, folder, "1-A", "# id A\n   0.000001 S: \"hello\"\n")
		write(t, folder, "2-B", "# id B\n   0.000001 S: \"\x1b[2J\"\nhalf a line")
		if err := os.Symlink("/etc/passwd", filepath.Join(folder, "3-C")); err != nil {
			t.Fatal(err)
		}
	})
	out, complaints, status := ask(t, path, "trace", "ann*", "--for", "1m", "--protocol", "imap")
	want := "== 1-A\n# id A\n   0.000001 S: \"hello\"\n== 2-B\n# id B\n   0.000001 S: \" [2J\"\n"
	if out != want || status != 0 || !strings.Contains(complaints, "trace T1 is on until 2026-11-20 09:05:00; its files are in /") {
		t.Errorf("it prints\n%s%sstatus %d, want\n%s", out, complaints, status, want)
	}
	if *asked != (admin.Watch{User: "ann*", Protocol: "imap", For: "1m0s"}) {
		t.Errorf("usher was asked for %+v", *asked)
	}
}

func TestATraceEndsWithItsCommand(t *testing.T) {
	path, r := runUsher(t)
	tracing(t, r, 1<<20, func(string) {})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	time.AfterFunc(300*time.Millisecond, stop)
	root := newRoot()
	root.SetArgs([]string{"trace", "192.0.2.7", "--admin", path})
	root.SetOut(&strings.Builder{})
	root.SetErr(&strings.Builder{})
	if err := root.ExecuteContext(ctx); err != nil {
		t.Error(err)
	}
	if len(r.untraced) != 1 || r.untraced[0] != (admin.Untrace{ID: "T1"}) {
		t.Errorf("what ended is %+v", r.untraced)
	}
}

func TestTracesAreATable(t *testing.T) {
	path, r := runUsher(t)
	tracing(t, r, 2, func(string) {})
	out, _, status := ask(t, path, "trace", "--list")
	if !strings.HasPrefix(out, "ID  OF         PROTOCOL  UNTIL                CONVERSATIONS  FOLDER\nT1  \"ann\\x1b\"  all       2026-11-20 09:05:00  2              /") || status != 0 {
		t.Errorf("it prints\n%s status %d", out, status)
	}
	if out, _, _ = ask(t, path, "trace", "--list", "--json"); !strings.Contains(out, `"id": "T1"`) {
		t.Errorf("it prints\n%s", out)
	}
	if out, complaints, status := ask(t, path, "trace", "--list"); out != "" || complaints != "no trace is on\n" || status != 0 {
		t.Errorf("it prints %q %q, status %d", out, complaints, status)
	}
}

func TestATraceBegunWithoutLookingIsEndedByItsID(t *testing.T) {
	path, r := runUsher(t)
	asked := tracing(t, r, 2, func(string) {})
	if out, _, status := ask(t, path, "trace", "2001:db8::/32", "--no-follow", "--json"); !strings.Contains(out, `"folder": "/`) || status != 0 || asked.Network != "2001:db8::/32" {
		t.Errorf("it prints %q, status %d, of %+v", out, status, asked)
	}
	for _, which := range []string{"T1", "all"} {
		if out, _, status := ask(t, path, "trace", "--end", which); out != "ended: 1\n" || status != 0 {
			t.Errorf("%s: it prints %q, status %d", which, out, status)
		}
	}
	if _, complaints, status := ask(t, path, "trace", "--end", "T2"); complaints != "no trace like that is on\n" || status != statusNo {
		t.Errorf("it prints %q, status %d", complaints, status)
	}
	if _, complaints, status := ask(t, path, "trace", "ann", "--for", "25h"); complaints != "a trace cannot last that long\n" || status != statusNo {
		t.Errorf("it prints %q, status %d", complaints, status)
	}
}
