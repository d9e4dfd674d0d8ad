package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"usher/internal/account"
)

func rowsIn(format string, r io.Reader) (rows []account.Row, err error) {
	for row, err := range readRows(format, r) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func TestReadRows(t *testing.T) {
	ann := account.Row{Line: 2, Fields: map[string]string{"user": "ann", "host": "a"}}
	for _, c := range []struct {
		name, format, text string
		want               []account.Row
	}{
		{"plain", "csv", "user,host\nann,a\n", []account.Row{ann}},
		{"from Excel", "csv", "\ufeffUser,MailHost\r\nann,a\r\n", []account.Row{ann}},
		{"no last line end", "csv", "user,host\nann,a", []account.Row{ann}},
		{"header only", "csv", "user,host\n", nil},
		{"json", "jsonl", "\n {\"user\":\"ann\", \"host\":\"a\"}\n\n", []account.Row{ann}},
		{"nothing", "jsonl", "", nil},
	} {
		got, err := rowsIn(c.format, strings.NewReader(c.text))
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", c.name, err, diff)
		}
	}
}

// A file that cannot be read to its end is not a wrong row.
func TestReadRowsTellsTornFiles(t *testing.T) {
	torn := errors.New("torn")
	for format, text := range map[string]string{"csv": "user\nann\n", "jsonl": `{"user":"ann"}` + "\n"} {
		_, err := rowsIn(format, io.MultiReader(strings.NewReader(text), iotest.ErrReader(torn)))
		if f := new(failure); !errors.Is(err, torn) || errors.As(err, f) {
			t.Errorf("%s: %v", format, err)
		}
	}
	for format, text := range map[string]string{"csv": "user\n\"ann\n", "jsonl": strings.Repeat(" ", maxLine+1)} {
		_, err := rowsIn(format, strings.NewReader(text))
		if f := new(failure); !errors.As(err, f) || f.status != statusNo {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func FuzzReadRows(f *testing.F) {
	f.Add("user,host\nann,a\n")
	f.Add(`{"user":"ann","port":1,"x":null,"y":[true]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range []string{"csv", "jsonl"} {
			_, _ = rowsIn(format, strings.NewReader(text)) // must come back
		}
	})
}

func TestReplaceFileKeepsTheOldOnFailure(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.csv")
	write := func(text string, err error) error {
		return replaceFile(name, func(w io.Writer) error {
			_, _ = io.WriteString(w, text)
			return err
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("half", errors.New("disk full")); err == nil {
		t.Error("the failure was not reported")
	}
	got, err := os.ReadFile(name)
	if string(got) != "old" || err != nil {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		size     int64
		want     string
	}{
		{false, 8, "7 accounts read, 50%\n"},
		{false, 0, "7 accounts read\n"},
		{true, 8, "\r[====================                    ] 7 accounts, 50%\r\x1b[K"},
		{true, 0, "\r7 accounts\r\x1b[K"},
	} {
		var out bytes.Buffer
		p := newProgress(&out, strings.NewReader("1234"), c.size)
		p.terminal, p.next = c.terminal, time.Time{}
		if _, err := io.ReadAll(p); err != nil {
			t.Fatal(err)
		}
		p.show(7)
		p.show(8) // too soon after the last
		p.end()
		if out.String() != c.want {
			t.Errorf("terminal %v, size %d: %q, want %q", c.terminal, c.size, out.String(), c.want)
		}
	}
}

// runSQLite does something to a database: sqlite FILE SQL.
func runSQLite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sqlite FILE SQL")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

// meanwhile does something to a database between what another process reads there and
// what it then writes: meanwhile FILE SQL.
func meanwhile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: meanwhile FILE SQL")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0])+"?_txlock=immediate")
	ts.Check(err)
	tx, err := db.Begin() // others can read, and must wait before they write
	ts.Check(err)
	_, err = tx.Exec(args[1])
	ts.Check(err)
	done := make(chan error, 1)
	go func() { done <- commitWhileWaited(tx, ts.MkAbs(args[0])) }()
	ts.Defer(func() {
		if err := errors.Join(<-done, db.Close()); err != nil {
			ts.Logf("meanwhile: %v", err)
		}
	})
}

// commitWhileWaited commits once another process has had the file open for a while:
// then it waits for us.
func commitWhileWaited(tx *sql.Tx, file string) error {
	for began := time.Now(); !isOpenElsewhere(file) && time.Since(began) < 20*time.Second; {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond)
	return tx.Commit()
}

func isOpenElsewhere(file string) bool {
	ours := fmt.Sprintf("/proc/%d/", os.Getpid())
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == file && !strings.HasPrefix(link, ours) {
			return true
		}
	}
	return false
}
