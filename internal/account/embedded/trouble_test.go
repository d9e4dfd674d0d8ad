package embedded

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/account"
)

func find(s *Store, user string) error {
	_, err := lookup(context.Background(), s, account.Query{Name: user})
	return err
}

func TestRemovedAndPutBack(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	if err := os.Rename(s.path, s.path+".away"); err != nil {
		t.Fatal(err)
	}
	wantError(t, find(s, "ann@example.org"), "put it back")
	wantError(t, find(s, "nobody"), "put it back")
	wantError(t, s.Add(t.Context(), account.Fields{"user": "bob"}), "put it back")
	if _, err := os.Stat(s.path); err == nil {
		t.Error("an empty database has been made in its place")
	}
	if err := os.Rename(s.path+".away", s.path); err != nil {
		t.Fatal(err)
	}
	if err := find(s, "ann@example.org"); err != nil {
		t.Errorf("put back: %v", err)
	}
}

// copyFile is how an administrator makes a backup and puts it back.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplacedByABackup(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	backup := filepath.Join(t.TempDir(), "backup.db")
	copyFile(t, s.path, backup) // while it is open: the journal is empty after each change
	add(t, s, account.Fields{"user": "bob"})
	if err := os.Rename(backup, s.path); err != nil {
		t.Fatal(err)
	}
	if err := find(s, "ann@example.org"); err != nil {
		t.Errorf("in the backup: %v", err)
	}
	if err := find(s, "bob"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("not in the backup: %v", err)
	}
	add(t, s, account.Fields{"user": "cy"})
	if got := len(all(t, s, "")); got != 2 {
		t.Errorf("%d accounts, want 2", got)
	}
}

func TestDamagedAndRepaired(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	backup := filepath.Join(t.TempDir(), "backup.db")
	copyFile(t, s.path, backup)
	for _, garbage := range []string{strings.Repeat("garbage!", 4096), "", "SQLite format 3\x00"} {
		bad := s.path + ".bad"
		if err := os.WriteFile(bad, []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(bad, s.path); err != nil {
			t.Fatal(err)
		}
		if err := find(s, "ann@example.org"); err == nil || errors.Is(err, account.ErrUnknown) {
			t.Errorf("with a damaged file (%.20q): %v", garbage, err)
		}
		copyFile(t, backup, s.path+".good")
		if err := os.Rename(s.path+".good", s.path); err != nil {
			t.Fatal(err)
		}
		if err := find(s, "ann@example.org"); err != nil {
			t.Errorf("repaired after %.20q: %v", garbage, err)
		}
	}
}

// Overwriting a database that is in use is the worst way to change it.
func TestOverwrittenInPlace(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	backup := filepath.Join(t.TempDir(), "backup.db")
	copyFile(t, s.path, backup)
	if err := os.WriteFile(s.path, []byte(strings.Repeat("garbage!", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := find(s, "nobody"); errors.Is(err, account.ErrUnknown) {
		t.Log("not noticed yet: the pages were in SQLite's cache")
	}
	copyFile(t, backup, s.path)
	if err := find(s, "ann@example.org"); err != nil {
		t.Errorf("after the backup was written over it: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	if _, err := s.open.write.Exec("PRAGMA max_page_count(20)"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Import(t.Context(), many(10_000), account.Refuse, nil)
	wantError(t, err, "the disk is full")
	if err := find(s, "ann@example.org"); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	if got := len(all(t, s, "")); got != 1 {
		t.Errorf("%d accounts after a failed import, want 1", got)
	}
}

func TestLockedByAnother(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	if _, err := s.open.write.Exec("PRAGMA busy_timeout(50)"); err != nil {
		t.Fatal(err)
	}
	other, err := connect(s.path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin() // immediate: it holds the writer's lock
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() // nothing was written
	wantError(t, s.Add(t.Context(), account.Fields{"user": "bob"}), "another process is writing")
	if err := find(s, "ann@example.org"); err != nil {
		t.Errorf("reading while another writes: %v", err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	state := t.TempDir()
	s := open(t, state)
	add(t, s, ann)
	if _, err := s.open.write.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err := MakeStore(t.Context(), state)
	wantError(t, err, "made by a newer usher")
}

func TestFolderCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := MakeStore(t.Context(), filepath.Join(file, "state"))
	wantError(t, err, `account source "sqlite"`)
}

func TestAfterClose(t *testing.T) {
	s := open(t, t.TempDir())
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	wantError(t, find(s, "ann"), "closed")
}

// A deadline that passes is no answer, and does not spoil the connection.
func TestDeadline(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err := lookup(ctx, s, account.Query{Name: "ann@example.org"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lookup after the deadline: %v", err)
	}
	if err := find(s, "ann@example.org"); err != nil {
		t.Error(err)
	}
}

// TestTwoProcessesStartAtOnce runs this test binary several times on one folder.
func TestTwoProcessesStartAtOnce(t *testing.T) {
	const key = "USHER_TEST_STATE"
	if state := os.Getenv(key); state != "" {
		s := open(t, state)
		add(t, s, account.Fields{"user": os.Getenv("USHER_TEST_USER")})
		return
	}
	state := t.TempDir()
	var all sync.WaitGroup
	for _, user := range []string{"a", "b", "c", "d", "e", "f"} {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestTwoProcessesStartAtOnce$")
			cmd.Env = append(os.Environ(), key+"="+state, "USHER_TEST_USER="+user)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	var n int
	db, err := sql.Open("sqlite", filepath.Join(state, File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM accounts").Scan(&n); n != 6 {
		t.Errorf("%d accounts of 6: %v", n, err)
	}
}

// Look-ups, changes and replacements of the file at the same time; run with -race.
func TestEverythingAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 25 {
				if err := find(s, "ann@example.org"); err != nil {
					t.Error(err)
				}
				if err := s.Set(context.Background(), "ann@example.org", account.Fields{"team": string(rune('a' + i))}); err != nil {
					t.Error(err)
				}
				s.mu.Lock()
				s.open.suspect.Store(true)
				s.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// While somebody holds the lock on a file that was replaced, look-ups fail in
// time, and nobody waits for another's wait.
func TestAHeldLockBlocksNobody(t *testing.T) {
	state := t.TempDir()
	s := open(t, state)
	add(t, s, ann)
	path := filepath.Join(state, File)
	held, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, path, path+".new")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for range 3 {
		if _, err := s.Get(ctx, ann["user"]); err == nil || errors.Is(err, account.ErrUnknown) {
			t.Errorf("while the lock is held: %v", err)
		}
	}
	if err := held(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), ann["user"]); err != nil {
		t.Errorf("after it was released: %v", err)
	}
}
