package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

func open(t testing.TB, state string) *Store {
	t.Helper()
	s, err := MakeStore(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// lookup asks as the server does.
func lookup(ctx context.Context, s *Store, q account.Query) (*account.Account, error) {
	return (&account.Reader{Name: "sql", Source: s}).Lookup(ctx, q)
}

func add(t testing.TB, s *Store, f account.Fields) {
	t.Helper()
	if err := s.Add(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// all gives the accounts that match glob.
func all(t testing.TB, s *Store, glob string) []account.Fields {
	t.Helper()
	var got []account.Fields
	for f, err := range s.List(context.Background(), glob) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f)
	}
	return got
}

var _ account.Store = (*Store)(nil)

var ann = account.Fields{"user": "ann@example.org", "password": "{PLAIN}secret", "host": "imap1, imap2:143", "port": "993", "ssl": "yes", "team": "east"}

func TestConformance(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	accounttest.RunSource(t, s, accounttest.World{User: "ann@example.org", Password: "secret", Unknown: "bob@example.org"})
}

func TestOpenSaysThatTheDatabaseIsNew(t *testing.T) {
	d, err := Open(t.Context(), account.Site{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := d.(*Store)
	defer s.Close()
	if notes := s.Notes(); len(notes) != 1 {
		t.Errorf("an administrator is not told that the database is new: %q", notes)
	}
}

func TestReadersNeverMakeADatabase(t *testing.T) {
	state := filepath.Join(t.TempDir(), "typo")
	if _, err := OpenStore(t.Context(), state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenStore of nothing: %v", err)
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestOnlyTheOwnerMayReadTheFile(t *testing.T) {
	state := filepath.Join(t.TempDir(), "new", "state")
	s := open(t, state)
	add(t, s, ann)
	for name, want := range map[string]os.FileMode{"": 0o700, File: 0o600, File + "-wal": 0o600, File + "-shm": 0o600} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q is %o, want %o", name, got, want)
		}
	}
}

func TestLookupMakesTheAccount(t *testing.T) {
	s := open(t, t.TempDir())
	add(t, s, ann)
	a, err := lookup(t.Context(), s, account.Query{Name: "Ann@Example.ORG"})
	if err != nil {
		t.Fatal(err)
	}
	a.Memory = nil
	want := &account.Account{
		Name:   "ann@example.org",
		Source: "sql",
		Proof:  account.Hashed{Hashes: []string{"{PLAIN}secret"}},
		Place:  account.Place{Hosts: []string{"imap1", "imap2:143"}, Port: 993, TLS: account.TLSImplicit},
		Attrs:  map[string]string{"team": "east"},
	}
	if diff := cmp.Diff(want, a, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// A row that somebody has written past usher must not look like no account.
func TestBadRowIsNamed(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct{ column, value, want string }{
		{"port", "none", `user "ann": field "port"`},
		{"attrs", "[1]", `user "ann": column attrs is not a JSON object`},
		{"password", "hunter2", `user "ann": field "password"`},
	} {
		if _, err := s.open.write.Exec("INSERT OR REPLACE INTO accounts (user, "+c.column+") VALUES ('ann', ?)", c.value); err != nil {
			t.Fatal(err)
		}
		_, err := lookup(t.Context(), s, account.Query{Name: "ann"})
		wantError(t, err, c.want)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, account.ErrUnknown) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one with: %s", err, want)
	}
}

// Numbers and NULL come from tables that were filled with other tools.
func TestForeignValues(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.open.write.Exec(`INSERT INTO accounts (user, host, port, nopassword, nologin, attrs) VALUES ('ann', 'imap1', 993, true, 0, '')`); err != nil {
		t.Fatal(err)
	}
	f, err := s.Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(account.Fields{"user": "ann", "host": "imap1", "port": "993", "nopassword": "1", "nologin": "0"}, f); diff != "" {
		t.Error(diff)
	}
}

func TestAddSetRemove(t *testing.T) {
	s, ctx := open(t, t.TempDir()), t.Context()
	add(t, s, account.Fields{"NAME": "ann", "pass_hash": "{PLAIN}x", "MailHost": "imap1", "reason": ""})
	if err := s.Add(ctx, account.Fields{"user": "ANN"}); !errors.Is(err, account.ErrExists) {
		t.Errorf("a second ann: %v", err)
	}
	if err := s.Set(ctx, "Ann", account.Fields{"place": "imap2", "password": "", "nopassword": "Y", "team": "east", "user": "Ann"}); err != nil {
		t.Fatal(err)
	}
	want := account.Fields{"user": "Ann", "host": "imap2", "nopassword": "Y", "team": "east"}
	got, err := s.Get(ctx, "ann")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := s.Set(ctx, "bob", account.Fields{"host": "x"}); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("set an unknown: %v", err)
	}
	if err := s.Remove(ctx, "ann", "bob"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("remove an unknown: %v", err)
	}
	if len(all(t, s, "")) != 1 {
		t.Error("remove did something before it failed")
	}
	if err := s.Remove(ctx, "ANN"); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "ann"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("after remove: %v", err)
	}
}

func TestBadInputChangesNothing(t *testing.T) {
	s, ctx := open(t, t.TempDir()), t.Context()
	add(t, s, ann)
	for _, c := range []struct {
		change account.Fields
		want   string
	}{
		{account.Fields{"port": "0"}, `field "port"`},
		{account.Fields{"password": "hunter2"}, "usher hash"},
		{account.Fields{"host": "a", "mailhost": "b"}, "given twice"},
		{account.Fields{"Ho st": "a"}, `field "Ho st"`},
		{account.Fields{"": "a"}, "field"},
		{account.Fields{"reason": "a\r\nb"}, "control characters"},
		{account.Fields{"reason": "\xff"}, "UTF-8"},
		{account.Fields{"allow_nets": "somewhere"}, "neither an address nor a network"},
		{account.Fields{"user": "bob"}, "cannot be changed"},
		{account.Fields{"password": "", "pass": "x"}, `field "pass"`},
	} {
		err := s.Set(ctx, "ann@example.org", c.change)
		wantError(t, err, c.want)
		if bad := new(account.Invalid); !errors.As(err, bad) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Set(%v): %#v", c.change, err)
		}
	}
	for _, user := range []string{"", " ann", "ann\x00", "ann\r", "a\tb", "\xff", strings.Repeat("x", account.MaxName+1)} {
		if err := s.Add(ctx, account.Fields{"user": user}); !errors.As(err, new(account.Invalid)) {
			t.Errorf("Add(%.20q): %v", user, err)
		}
	}
	if diff := cmp.Diff([]account.Fields{ann}, all(t, s, "")); diff != "" {
		t.Error(diff)
	}
}

func TestListInOrder(t *testing.T) {
	s := open(t, t.TempDir())
	for _, user := range []string{"bob@a", "Ann@b", "ann@a", "cy[1]", "Äh"} {
		add(t, s, account.Fields{"user": user})
	}
	for glob, want := range map[string]string{"": "ann@a Ann@b bob@a cy[1] Äh", "*@A": "ann@a bob@a", "ANN@?": "ann@a Ann@b", "ann": "", "cy[[]1]": "cy[1]", "'": ""} {
		var got []string
		for _, f := range all(t, s, glob) {
			got = append(got, f["user"])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("List(%q) = %v, want %s", glob, got, want)
		}
	}
	for range s.List(t.Context(), "") {
		break // must give its connection back
	}
	if s.open.users != 0 {
		t.Error("a list that was left early is still open")
	}
}

// rowsOf numbers fields as the lines of a file with a header.
func rowsOf(rows ...account.Fields) iter.Seq2[account.Row, error] {
	return func(yield func(account.Row, error) bool) {
		for i, f := range rows {
			if !yield(account.Row{Line: i + 2, Fields: maps.Clone(f)}, nil) {
				return
			}
		}
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	s, ctx := open(t, t.TempDir()), t.Context()
	add(t, s, ann)
	good, broken := account.Fields{"user": "bob"}, errors.New("line 9: torn")
	for _, c := range []struct {
		rows iter.Seq2[account.Row, error]
		want string
	}{
		{rowsOf(good, account.Fields{"user": "cy", "port": "x"}), `line 3: user "cy": field "port"`},
		{rowsOf(good, account.Fields{"host": "x"}), `line 3: an account needs the field user`},
		{rowsOf(good, account.Fields{"user": "BOB"}), `line 3: user "BOB" stands on line 2 already`},
		{rowsOf(good, account.Fields{"user": "ANN@example.org"}), `line 3: user "ANN@example.org": the account exists already; --update`},
		{func(yield func(account.Row, error) bool) {
			_ = yield(account.Row{Line: 2, Fields: good}, nil) && yield(account.Row{}, broken)
		}, "line 9: torn"},
	} {
		_, err := s.Import(ctx, c.rows, account.Refuse, nil)
		wantError(t, err, c.want)
		if strings.Contains(err.Error(), "sqlite") {
			t.Errorf("the database is blamed: %v", err)
		}
	}
	if diff := cmp.Diff([]account.Fields{ann}, all(t, s, "")); diff != "" {
		t.Error(diff)
	}
}

func TestImportUpdates(t *testing.T) {
	s, seen := open(t, t.TempDir()), 0
	add(t, s, ann)
	n, err := s.Import(t.Context(), rowsOf(account.Fields{"name": "Ann@example.org", "team": "", "host": "imap9"}, account.Fields{"user": "bob"}),
		account.Update, func(done int) { seen = done })
	if n != 2 || seen != 2 || err != nil {
		t.Fatalf("Import = %d, %v with progress %d", n, err, seen)
	}
	changed := maps.Clone(ann)
	changed["user"], changed["host"] = "Ann@example.org", "imap9"
	delete(changed, "team")
	if diff := cmp.Diff([]account.Fields{changed, {"user": "bob"}}, all(t, s, "")); diff != "" {
		t.Error(diff)
	}
}

func TestExportThenImport(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	add(t, from, ann)
	add(t, from, account.Fields{"user": "bob", "reason": `a "b", 'c' ; ü`, "nologin": "Y", "x_1": " spaces "})
	err := from.Export(t.Context(), func(fields []string, rows iter.Seq2[account.Fields, error]) error {
		if got := strings.Join(fields[len(columns):], " "); fields[0] != "user" || got != "team x_1" {
			t.Errorf("fields %v", fields)
		}
		_, err := to.Import(t.Context(), func(yield func(account.Row, error) bool) {
			for f, err := range rows {
				if !yield(account.Row{Fields: f}, err) {
					return
				}
			}
		}, account.Refuse, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all(t, from, ""), all(t, to, "")); diff != "" {
		t.Error(diff)
	}
}

// many gives n accounts.
func many(n int) iter.Seq2[account.Row, error] {
	return func(yield func(account.Row, error) bool) {
		for i := range n {
			f := account.Fields{"user": fmt.Sprintf("user%06d@example.org", i), "password": "{PLAIN}secret", "host": "imap1.example.org", "team": "east"}
			if !yield(account.Row{Line: i + 2, Fields: f}, nil) {
				return
			}
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	s := open(b, b.TempDir())
	if _, err := s.Import(b.Context(), many(100_000), account.Refuse, nil); err != nil {
		b.Fatal(err)
	}
	b.Run("100000", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i = (i + 7919) % 100_000 {
				if _, err := lookup(b.Context(), s, account.Query{Name: fmt.Sprintf("user%06d@example.org", i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkImport100000(b *testing.B) {
	for b.Loop() {
		s := open(b, b.TempDir())
		if n, err := s.Import(b.Context(), many(100_000), account.Refuse, nil); n != 100_000 {
			b.Fatal(err)
		}
	}
}
