package sql

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/account"
)

func sqliteFile(t *testing.T, name, host string) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (name TEXT, host TEXT); INSERT INTO t VALUES ('ann', '" + host + "')"); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

const hostOf = "SELECT host FROM t WHERE name = '%u'"

// A file that is written anew each night and put in the place of the old one.
func TestAFileThatWasReplacedIsReadAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mail.db")
	sqliteFile(t, name, "old")
	s := open(t, settings{Driver: "sqlite", DSN: name, Lookup: mustParse(t, hostOf)})
	for _, host := range []string{"new", "newer"} {
		sqliteFile(t, name+".new", host)
		rename(t, name+".new", name)
		for range 20 {
			if got := fields(t, s, "ann")["host"]; got != host {
				t.Fatalf("the file says %s, the source %s", host, got)
			}
		}
	}
	rename(t, name, name+".away")
	_, err := s.Ask(t.Context(), account.Query{Name: "ann"})
	wantError(t, err, "put it there")
	if err := os.WriteFile(name, []byte(strings.Repeat("garbage!", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	err = s.probe(t.Context(), s.pools()[0])
	wantError(t, err, "is it the right file?")
	rename(t, name+".away", name)
	if err := s.probe(t.Context(), s.pools()[0]); err != nil {
		t.Errorf("put back: %v", err)
	}
}

// pools are those of the servers.
func (s *Source) pools() (list []*sql.DB) {
	s.asked.Each(func(_ string, db *sql.DB) { list = append(list, db) })
	return list
}

// Others write while we read, also with a journal of the newer kind.
func TestWhatOthersWriteIsReadAtOnce(t *testing.T) {
	for _, journal := range []string{"DELETE", "WAL"} {
		name := filepath.Join(t.TempDir(), "mail.db")
		sqliteFile(t, name, "0")
		db, err := sql.Open("sqlite", name+"?_journal_mode="+journal)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("UPDATE t SET host = 'a'"); err != nil {
			t.Fatal(err)
		}
		s := open(t, settings{Driver: "sqlite", DSN: "file:" + name + "?cache=private", Lookup: mustParse(t, hostOf)})
		for _, host := range []string{"b", "c", "d"} {
			if _, err := db.Exec("UPDATE t SET host = ?", host); err != nil {
				t.Fatal(err)
			}
			if got := fields(t, s, "ann")["host"]; got != host {
				t.Errorf("%s: the file says %s, the source %s", journal, host, got)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got := fields(t, s, "ann")["host"]; got != "d" {
			t.Errorf("%s: after the writer has gone: %s", journal, got)
		}
	}
}

// A look-up writes nothing, even if its query would.
func TestALookupOnlyReads(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mail.db")
	sqliteFile(t, name, "a")
	for _, w := range []write{{}, {Table: "t", Key: "name"}} {
		p, err := newPlan(settings{Driver: "sqlite", DSN: name, Lookup: mustParse(t, "UPDATE t SET host = 'x' WHERE '%u' <> '' RETURNING host"), Write: w, Pool: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.open(t.Context(), account.Site{})
		wantError(t, err, "readonly database")
	}
}

// Files must be there, and right as a whole.
func TestAFileIsReadWhenItIsOpened(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "mail.db")
	sqliteFile(t, name, "a")
	for _, c := range []struct{ dsn, lookup, want string }{
		{filepath.Join(dir, "none.db"), hostOf, "put it there"},
		{dir, hostOf, "is not a file"},
		{name, "SELECT host FROM u WHERE name = '%u'", "check the table's name"},
		{name, "SELECT host FROM t WHERE nom = '%u'", "check the columns' names"},
		{name, "SELECT host FROM t WHERE nom(name) = '%u'", "check the function's name"},
	} {
		p, err := newPlan(settings{Driver: "sqlite", DSN: c.dsn, Lookup: mustParse(t, c.lookup), Pool: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.open(t.Context(), account.Site{})
		wantError(t, err, c.want)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); err == nil {
		t.Error("a database was made")
	}
}
