package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/slogtest"
	"time"
)

// exported reads an entry as journald does.
func exported(t testing.TB, text string) (fields [][2]string) {
	t.Helper()
	b := []byte(text)
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("no end: %q", b)
		}
		if name, value, short := bytes.Cut(line, []byte("=")); short {
			fields, b = append(fields, [2]string{string(name), string(value)}), rest
			continue
		}
		n := binary.LittleEndian.Uint64(rest)
		if rest[8+n] != '\n' {
			t.Fatalf("no newline behind %d bytes of %s", n, line)
		}
		fields, b = append(fields, [2]string{string(line), string(rest[8 : 8+n])}), rest[9+n:]
	}
	return fields
}

func fieldsOf(t testing.TB, text string) map[string]string {
	m := map[string]string{}
	for _, f := range exported(t, text) {
		m[f[0]] = f[1]
	}
	return m
}

func variable(key string) string { return string(appendName(nil, key)) }

// What an administrator asks journalctl for is there under the names of the manual.
func TestTheJournalFindsAUser(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "journal", Options{Journal: r.path})
	log.Warn("login refused", "id", "A1", "remote", "192.0.2.1:4711", "why", "wrong name or password", "user", "ann@example.org",
		"err", "no such\nMESSAGE=forged\n", "from_client", 7)
	got := fieldsOf(t, r.next())
	for name, want := range map[string]string{
		"PRIORITY": "4", "SYSLOG_IDENTIFIER": "usher", "SYSLOG_FACILITY": "2", "USHER_EVENT": "login-refused", "USHER_ID": "A1",
		"USHER_REMOTE": "192.0.2.1:4711", "USHER_WHY": "wrong name or password", "USHER_USER": "ann@example.org",
		"USHER_ERR": "no such\nMESSAGE=forged\n", "USHER_FROM_CLIENT": "7",
		"MESSAGE": `level=WARN msg="login refused" id=A1 remote=192.0.2.1:4711 why="wrong name or password" user=ann@example.org err="no such\nMESSAGE=forged\n" from_client=7`,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if _, err := time.Parse(time.RFC3339, got["USHER_TIME"]); err != nil || len(got) != 12 {
		t.Errorf("%v in %q", err, got)
	}
}

func TestSlogRulesHoldForTheJournal(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "journal", Options{Journal: r.path})
	if err := slogtest.TestHandler(log.Handler(), func() (all []map[string]any) {
		for _, text := range r.rest() {
			all = append(all, recordOf(t, exported(t, text)))
		}
		return all
	}); err != nil {
		t.Error(err)
	}
}

// recordOf is what slogtest looks at: the line, if the fields say the same.
func recordOf(t *testing.T, fields [][2]string) map[string]any {
	m, own := map[string]any{}, map[string]int{}
	for _, f := range fields {
		own[f[0]+"="+f[1]]++
		if f[0] == "USHER_TIME" {
			m["time"] = f[1]
		}
	}
	for _, f := range fields {
		if f[0] != "MESSAGE" {
			continue
		}
		for i, w := range words(t, f[1]) {
			nest(m, w[0], w[1])
			if i > 1 && own[variable(w[0])+"="+w[1]] == 0 {
				t.Errorf("no field for %v in %q", w, fields)
			}
		}
	}
	return m
}

func TestWithoutAJournalTheLogGoesToStandardError(t *testing.T) {
	t.Parallel()
	log, stderr := open(t, "journal", Options{Journal: filepath.Join(t.TempDir(), "none")})
	log.Info("hello", "k", "v")
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "there is no journal") || !strings.Contains(lines[1], "msg=hello k=v") {
		t.Errorf("%q", lines)
	}
}

// A journal that takes nothing holds nobody up, and hears how much it has missed.
func TestAFrozenJournalDoesNotHoldLoginsUp(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "journal", Options{Journal: r.path, most: bounds{lines: 50, bytes: 1 << 20}})
	const all = 5000
	begin := time.Now()
	for i := range all {
		log.Info("line", "n", i)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("logging took %v", d)
	}
	came, lost := 0, 0
	for came+lost < all {
		f := fieldsOf(t, r.next())
		if f["USHER_EVENT"] == "line" {
			came++
			continue
		}
		n, err := strconv.Atoi(f["USHER_LINES"])
		if f["USHER_EVENT"] != "log-lines-were-lost" || err != nil || n == 0 {
			t.Fatalf("%q", f)
		}
		lost += n
	}
	if came+lost != all || came < 50 {
		t.Errorf("%d came, %d were lost, of %d", came, lost, all)
	}
}

// A journal that is started anew has another socket of the same name.
func TestAJournalThatComesBackGetsWhatHasWaited(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, stderr := open(t, "journal", Options{Journal: r.path})
	log.Info("one")
	r.next()
	r.end()
	log.Info("two")
	eventually(t, "a word about the trouble", func() bool { return strings.Contains(stderr.String(), "cannot be written") })
	log.Info("three")
	r.begin()
	for _, want := range []string{"two", "three"} {
		if got := fieldsOf(t, r.next())["USHER_EVENT"]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	eventually(t, "a word about its end", func() bool { return strings.Contains(stderr.String(), "can be written again") })
	if n := strings.Count(stderr.String(), "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, stderr)
	}
}

// Even a line as long as the stack of a bug comes, if not whole.
func TestAHugeLineComes(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, _ := open(t, "journal", Options{Journal: r.path})
	log.Error("bug", "id", "A1", "stack", strings.Repeat("é", 1<<20), "last", "x")
	got := fieldsOf(t, r.next())
	if got["USHER_ID"] != "A1" || got["USHER_LAST"] != "x" || !strings.HasPrefix(got["MESSAGE"], "level=ERROR msg=bug id=A1 stack=é") {
		t.Errorf("%.300q", got)
	}
}

// Nothing is left behind at a quick end.
func TestTheLastLinesComeThrough(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	log, end := Open(Place{kind: kindJournal}, Options{Journal: r.path, Stderr: io.Discard})
	for range 5 { // fewer than a socket holds
		log.Info("bye")
	}
	end()
	if n := len(r.rest()); n != 5 {
		t.Errorf("%d lines", n)
	}
}

// A place that is gone does not keep usher from ending, and what is lost is told.
func TestTheEndIsBoundedIfTheJournalIsGone(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	stderr := new(paper)
	log, end := Open(Place{kind: kindJournal}, Options{Journal: r.path, Stderr: stderr})
	r.end()
	log.Info("bye")
	begin := time.Now()
	end()
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	if !strings.Contains(stderr.String(), "were lost") || !strings.Contains(stderr.String(), "lines=1") {
		t.Errorf("%s", stderr)
	}
}

// TestAsService is no test: it is run by the next one, with the standard error that
// systemd says is the journal's.
func TestAsService(t *testing.T) {
	if os.Getenv("JOURNAL_STREAM") == "" || os.Getenv("LOGS_SOCKET") == "" {
		t.Skip("run by TestUnderSystemdTheLogIsTheJournal")
	}
	p, _ := Parse("auto")
	log, end := Open(p, Options{Stderr: os.Stderr, Journal: os.Getenv("LOGS_SOCKET")})
	log.Info("hello")
	end()
}

func TestUnderSystemdTheLogIsTheJournal(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(stderr.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ino   uint64
		comes bool
	}{{st.Ino + 1, false}, {st.Ino, true}} { // another service's, ours
		cmd := exec.Command(os.Args[0], "-test.run", "^TestAsService$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, c.ino), "LOGS_SOCKET="+r.path)
		cmd.Stderr = stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		all := r.rest()
		if comes := len(all) == 1 && fieldsOf(t, all[0])["USHER_EVENT"] == "hello"; comes != c.comes {
			t.Errorf("with the inode %d the journal has %q", c.ino, all)
		}
	}
	text, _ := os.ReadFile(stderr.Name())
	if n := strings.Count(string(text), "msg=hello"); n != 1 {
		t.Errorf("standard error has %q", text)
	}
}

func FuzzJournalEntriesReadBack(f *testing.F) {
	f.Add("login refused", "user", "ann\nMESSAGE=forged")
	f.Add("a: b", "_KEY.é", "=")
	f.Fuzz(func(t *testing.T, message, key, value string) {
		h := newHandler(slog.LevelInfo, journalForm{}, nil)
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, message, 0)
		r.AddAttrs(slog.String(key, value))
		fields := exported(t, string(journalForm{}.encode(h.entry(r))))
		for _, one := range fields {
			if one[0] == "" || len(one[0]) > 64 || strings.Trim(one[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				t.Errorf("journald refuses the name %q", one[0])
			}
		}
		if len(value) > 1000 || key == "" && value == "" {
			return
		}
		if last := fields[len(fields)-1]; last != [2]string{variable(key), value} || len(fields) != 6 {
			t.Errorf("%q, want %q last", fields, value)
		}
	})
}

func unquote(s string) (value, rest string, ok bool) {
	prefix, err := strconv.QuotedPrefix(s)
	if err != nil || !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	value, err = strconv.Unquote(prefix)
	return value, s[len(prefix):], !errors.Is(err, strconv.ErrSyntax)
}
