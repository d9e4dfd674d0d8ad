package file

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// colons is a format for tests: "name:rest", and "bad" is wrong.
var colons = Format{Private: 0o044, Name: func(line string) (string, error) {
	name, _, _ := strings.Cut(line, ":")
	switch {
	case line == "" || line[0] == '#':
		return "", nil
	case strings.HasPrefix(line, "bad"):
		return "", errors.New("it is bad")
	}
	return name, CheckName(name)
}}

// A journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) has(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// place puts a file there in one step.
func place(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new~", text)
	if err := os.Rename(path+".new~", path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) (*Lines, *journal) {
	t.Helper()
	j := new(journal)
	l, err := Open(t.Context(), path, colons, slog.New(slog.NewTextHandler(j, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, j
}

func (l *Lines) want(t *testing.T, name, line string) {
	t.Helper()
	if got, times := l.Find(t.Context(), name); got != line || (times > 0) != (line != "") {
		t.Errorf("Find(%q) = %q, %d; want %q", name, got, times, line)
	}
}

// soon waits until a name has a line.
func (l *Lines) soon(t *testing.T, name, line string) {
	t.Helper()
	soon(t, fmt.Sprintf("%s has the line %q", name, line), func() bool {
		got, _ := l.Find(t.Context(), name)
		return got == line
	})
}

// soon waits for as long as a file may be old, and for a busy machine.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 15*time.Second {
			t.Fatalf("after %v not yet: %s", time.Since(began), what)
		}
	}
}

func TestALineIsFoundByItsWholeName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "# ann:comment\nann:1\r\n\nanna:2\nan:3\n:4\nbob\nlast:5")
	l, _ := open(t, path)
	l.want(t, "ann", "ann:1")
	l.want(t, "anna", "anna:2")
	l.want(t, "an", "an:3")
	l.want(t, "bob", "bob")
	l.want(t, "last", "last:5")
	for _, none := range []string{"", "a", "ann:1", "ann:", "# ann", "las", "bob\n", "\n"} {
		l.want(t, none, "")
	}
}

func TestAnEmptyFileHasNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"", "\n", "# nobody\n\n"} {
		place(t, path, text)
		l, _ := open(t, path)
		l.want(t, "ann", "")
	}
}

func TestWrongLinesAreNamedAndTheOthersServe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\nbad\nbob:2\nann:3\n bob:4\n\xff:5\n"+strings.Repeat("x", 600)+":6\nlong:"+strings.Repeat("x", MaxLine)+"\nann:7\nz\x01:8\n")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, path)
	l.want(t, "bob", "bob:2")
	l.want(t, "long", "")
	if line, times := l.Find(t.Context(), "ann"); line != "ann:1" || times != 2 {
		t.Errorf("who stands there three times: %q, %d", line, times)
	}
	want := []string{
		path + ": its mode 0640 lets others read it, and there are passwords in it; try: chmod 0600 " + path,
		path + ":2: it is bad; the line is not used",
		path + ":5: white space stands before or behind the name; the line is not used",
		path + ":6: the name is not valid UTF-8; the line is not used",
		path + ":7: the name has more than 512 bytes; the line is not used",
		path + ":8: it has more than 65536 bytes; the line is not used",
		path + ":10: a control character is in the name; the line is not used",
		path + `:4: the name "ann" stands on ` + path + ":1 already",
		path + `:9: the name "ann" stands on ` + path + ":1 already",
	}
	if got := l.Notes(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("notes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAWrongFileDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, strings.Repeat("bad\n", 1000)+strings.Repeat("ann:1\n", 100_000))
	l, _ := open(t, path)
	notes := l.Notes()
	if len(notes) != 11 || notes[10] != "and 100989 more of this kind" {
		t.Errorf("%d notes, the last %q", len(notes), notes[len(notes)-1])
	}
	l.want(t, "ann", "ann:1")
}

func TestAFolderIsReadAsOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"b", "b/c", ".hidden"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"a": "a:1", "b/two": "b:2\n", "b/c/three": "\nc:3\nbad\n", "z": "z:4\na:5\n",
		".lock.a": "no:1\n", ".hidden/x": "no:1\n", "a~": "no:1\n", "#a#": "no:1\n", "a.bak": "no:1\n", "a.dpkg-old": "no:1\n", "a.lock": "no:1\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for name, to := range map[string]string{"null": "/dev/null", "nowhere": "/nowhere", "b/circle": dir + "/b/c"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, dir)
	l.want(t, "a", "a:1")
	l.want(t, "b", "b:2")
	l.want(t, "c", "c:3")
	l.want(t, "z", "z:4")
	l.want(t, "no", "")
	notes := strings.Join(l.Notes(), "\n")
	for _, want := range []string{dir + "/b/c/three:3: it is bad", dir + `/z:2: the name "a" stands on ` + dir + "/a:1 already"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
	write(t, filepath.Join(dir, "b/new"), "new:6\n")
	l.soon(t, "new", "new:6")
	if err := os.Remove(filepath.Join(dir, "b/two")); err != nil {
		t.Fatal(err)
	}
	l.soon(t, "b", "")
}

func TestFoldersWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "a:1\n")
	if err := os.Symlink(dir, filepath.Join(dir, "self")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, colons, slog.Default()); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Error(err)
	}
}

func TestWhatCannotBeReadAtTheStartIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "no file is in the folder",
		"/dev/null":                "is not a file",
	} {
		if _, err := Open(t.Context(), path, colons, slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
	plain := colons
	plain.Plain = true
	write(t, filepath.Join(dir, "f"), "ann:1\n")
	if _, err := Open(t.Context(), dir, plain, slog.Default()); !errors.Is(err, ErrNoFile) {
		t.Error(err)
	}
}

func TestAChangedFileIsReadSoon(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\n")
	l, j := open(t, path)
	place(t, path, "ann:2\nbad\n")
	l.soon(t, "ann", "ann:2")
	write(t, path, "ann:3\n") // in place, with the same length and soon after
	write(t, path, "ann:4\n")
	l.soon(t, "ann", "ann:4")
	if n := j.has("msg=\"account source\" note="); n != 1 || j.has(path+":2: it is bad") != 1 {
		t.Errorf("%d notes:\n%s", n, j.text.String())
	}
}

// Nobody has asked for long: the first one does not get what was years ago.
func TestTheFirstWhoAsksAfterALongTimeGetsTheNewFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\n")
	l, _ := open(t, path)
	place(t, path, "ann:2\n")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.looked = time.Now().Add(-time.Hour)
	l.mu.Unlock()
	l.want(t, "ann", "ann:2")
}

func TestALostFileLeavesTheLastGoodState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "ann:1\n")
	l, j := open(t, path)
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	soon(t, "a line in the log", func() bool {
		l.want(t, "ann", "ann:1")
		return j.has("cannot be read; what was read before still holds") > 0
	})
	time.Sleep(2500 * time.Millisecond) // two more looks
	l.want(t, "ann", "ann:1")
	if n := j.has("cannot be read"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, j.text.String())
	}
	place(t, path, "ann:2\n")
	l.soon(t, "ann", "ann:2")
	soon(t, "the log says that all is well", func() bool { l.Find(t.Context(), "ann"); return j.has("can be read again") == 1 })
}

func TestAFolderThatIsNotMountedLeavesTheLastGoodState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "ann:1\n")
	l, j := open(t, dir)
	if err := os.Remove(filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	soon(t, "a line in the log", func() bool { l.want(t, "ann", "ann:1"); return j.has("no file is in the folder") > 0 })
	l.want(t, "ann", "ann:1")
}

// An editor that writes slowly, in place: nobody is unknown in the meantime.
func TestAHalfWrittenFileIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\nbob:1\n")
	l, _ := open(t, path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began, last := time.Now(), time.Now()
	for _, part := range []string{"ann:", "2\nbo", "b:"} { // more than a second
		fmt.Fprint(f, part)
		for range 20 {
			line, _ := l.Find(t.Context(), "bob")
			if time.Since(last) > quiet || time.Since(began) > waitMost {
				t.Skip("this machine is too busy to write without a rest")
			}
			if line != "bob:1" {
				t.Errorf("bob is %q", line)
			}
			time.Sleep(20 * time.Millisecond)
		}
		last = time.Now()
	}
	fmt.Fprint(f, "2\n")
	l.soon(t, "bob", "bob:2")
	l.want(t, "ann", "ann:2")
}

// Editors that take the old file away before they write the new one.
func TestAFileThatIsAwayForAMomentIsNotForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "ann:1\n")
	write(t, b, "bob:1\n")
	l, _ := open(t, dir)
	time.Sleep(lookEvery) // the next question is a look
	if err := os.Rename(b, b+"~"); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < quiet/2; time.Sleep(10 * time.Millisecond) {
		l.want(t, "bob", "bob:1")
	}
	write(t, b, "bob:2\n")
	l.soon(t, "bob", "bob:2")
}

// What never comes to rest is read at last, as a whole.
func TestAFileThatIsWrittenWithoutEndIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\n")
	l, _ := open(t, path)
	write(t, path, "ann:2\n")
	soon(t, "it is read", func() bool {
		if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		line, _ := l.Find(t.Context(), "ann")
		return line == "ann:2"
	})
}

// A disk that does not answer holds nobody up for long.
func TestADiskThatDoesNotAnswerDoesNotHoldLoginsUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "ann:1\n")
	l, j := open(t, path)
	stuck := &look{began: time.Now(), done: make(chan struct{})}
	l.mu.Lock()
	l.under, l.looked = stuck, time.Now().Add(-time.Hour)
	l.mu.Unlock()
	began := time.Now()
	for range 3 {
		l.want(t, "ann", "ann:1")
	}
	if took := time.Since(began); took > patience+3*time.Second {
		t.Errorf("three questions took %v", took)
	}
	stuck.began = stuck.began.Add(-frozen)
	l.want(t, "ann", "ann:1")
	l.want(t, "ann", "ann:1")
	if n := j.has("takes long"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// A line that is kept, as part of a session, does not keep the whole file.
func TestALineDoesNotKeepTheFileInMemory(t *testing.T) {
	table := colons.table("ann:1\n", []part{{}})
	if line, _ := table.find("ann"); line != "ann:1" {
		t.Error(line)
	}
	if n := testing.AllocsPerRun(100, func() { table.find("ann") }); n < 1 {
		t.Error("the line is a part of the text")
	}
}

func FuzzTable(f *testing.F) {
	f.Add("ann:1\nbob:2\r\n# x\n\nann:3\nbad\nlast", "ann")
	f.Add("\n\n:\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		want, times := "", 0
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			is, err := colons.Name(line)
			if err == nil && is == name && name != "" && len(line) <= MaxLine {
				if times = min(times+1, 2); times == 1 {
					want = line
				}
			}
		}
		if got, n := colons.table(text, []part{{path: "f"}}).find(name); got != want || n != times {
			t.Errorf("%q in %q: %q, %d; want %q, %d", name, text, got, n, want, times)
		}
	})
}
