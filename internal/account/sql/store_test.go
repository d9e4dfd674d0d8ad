package sql

import (
	"errors"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// A table as people have them, with more columns than concern us.
const mailboxes = `CREATE TABLE mailboxes (id int, email varchar(100) PRIMARY KEY, crypt varchar(100), mailhost varchar(100) DEFAULT 'imap9', port int, note varchar(100) NOT NULL DEFAULT '', seen timestamp NULL);
INSERT INTO mailboxes (id, email, crypt, mailhost, note) VALUES (1, 'ann@example.org', '{PLAIN}secret', 'imap1', 'a'), (2, 'bob@example.org', NULL, NULL, 'b'), (3, 'cy/x@example.net', '{PLAIN}x', 'imap2', 'c');`

func (d *database) store(t *testing.T) *Source {
	t.Helper()
	d.exec(t, mailboxes)
	return d.open(t, settings{
		Lookup: mustParse(t, "SELECT email AS user, crypt AS password, mailhost AS host, port FROM mailboxes WHERE email = '%u'"),
		List:   mustParse(t, "SELECT email AS address, crypt AS password, mailhost, note FROM mailboxes ORDER BY id"),
		Write:  write{Table: "mailboxes", Key: "email", Columns: map[string]string{"password": "crypt"}},
	})
}

func usersOf(t *testing.T, s *Source, glob string) string {
	t.Helper()
	var list []string
	for f, err := range s.List(t.Context(), glob) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f["user"])
	}
	return strings.Join(list, " ")
}

func accountsAreListed(t *testing.T, d *database) {
	s := d.store(t)
	for glob, want := range map[string]string{
		"": "ann@example.org bob@example.org cy/x@example.net", "*": "ann@example.org bob@example.org cy/x@example.net",
		"*@example.ORG": "ann@example.org bob@example.org", "c*": "cy/x@example.net", "[ab]??@*": "ann@example.org bob@example.org", `\*`: "",
	} {
		if got := usersOf(t, s, glob); got != want {
			t.Errorf("List(%q) = %s, want %s", glob, got, want)
		}
	}
	for f, err := range s.List(t.Context(), "") {
		if diff := cmp.Diff(account.Fields{"user": "ann@example.org", "password": "{PLAIN}secret", "host": "imap1", "note": "a"}, f); err != nil || diff != "" {
			t.Error(err, diff)
		}
		break // must give its connection back
	}
	for _, err := range s.List(t.Context(), "[") {
		if !errors.As(err, new(account.Invalid)) {
			t.Errorf("a bad pattern: %v", err)
		}
	}
	err := s.Export(t.Context(), func(names []string, rows iter.Seq2[account.Fields, error]) error {
		if got := strings.Join(names, " "); got != "user password host note" {
			t.Errorf("fields %s", got)
		}
		n := 0
		for _, err := range rows {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 3 {
			t.Errorf("%d rows", n)
		}
		return errors.New("disk full")
	})
	if err == nil || err.Error() != "disk full" {
		t.Errorf("the caller's error became %v", err)
	}
	f, err := s.Get(t.Context(), "ann@example.org")
	if diff := cmp.Diff(account.Fields{"user": "ann@example.org", "password": "{PLAIN}secret", "host": "imap1"}, f); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := s.Get(t.Context(), "dan"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("Get of nobody: %v", err)
	}
	bare := d.source(t, "SELECT note FROM mailboxes WHERE email = {user}")
	for _, err := range bare.List(t.Context(), "") {
		wantError(t, err, "no key list")
	}
	wantError(t, bare.Set(t.Context(), "ann@example.org", account.Fields{"host": "x"}), "no [accounts.write]")
	nameless := d.open(t, settings{Lookup: bare.Lookup, List: mustParse(t, "SELECT email FROM mailboxes")})
	for _, err := range nameless.List(t.Context(), "") {
		wantError(t, err, "no column is named user")
	}
}

// A long list is read row by row, also for longer than a look-up may take.
func aLongListStreams(t *testing.T, d *database) {
	series := map[string]string{
		"postgres": "SELECT 'u' || i AS user, repeat('x', 1000) AS host FROM generate_series(1, 50000) AS s (i)",
		"mysql":    "SELECT CONCAT('u', seq) AS user, REPEAT('x', 1000) AS host FROM seq_1_to_50000",
		"sqlite":   "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 50000) SELECT 'u' || i AS user, replace(hex(zeroblob(500)), '0', 'x') AS host FROM s",
	}[d.driver]
	s := d.open(t, settings{Lookup: mustParse(t, "SELECT '%u' AS x WHERE 1 = 0"), List: mustParse(t, series), Timeout: 500 * time.Millisecond})
	n := 0
	for f, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			time.Sleep(time.Second)
		}
		_ = f
	}
	if n != 50000 {
		t.Errorf("%d rows", n)
	}
}

func accountsAreChanged(t *testing.T, d *database) {
	s, ctx := d.store(t), t.Context()
	ann := "ann@example.org"
	for _, to := range []account.Fields{{"host": "imap7", "port": "993"}, {"port": ""}, {"Password": "{PLAIN}other", "user": ann}, {"host": "imap7"}} {
		if err := s.Set(ctx, ann, to); err != nil {
			t.Fatalf("Set(%v): %v", to, err)
		}
	}
	if diff := cmp.Diff(account.Fields{"user": ann, "password": "{PLAIN}other", "host": "imap7"}, fields(t, s, ann)); diff != "" {
		t.Error(diff)
	}
	if err := s.Add(ctx, account.Fields{"user": "dan@example.org", "pass_hash": "{PLAIN}x", "port": "143", "note": "new"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(account.Fields{"user": "dan@example.org", "password": "{PLAIN}x", "port": "143", "host": "imap9"}, fields(t, s, "dan@example.org")); diff != "" {
		t.Error(diff)
	}
	if err := s.Remove(ctx, "dan@example.org", "bob@example.org"); err != nil {
		t.Fatal(err)
	}
	if got := usersOf(t, s, ""); got != "ann@example.org cy/x@example.net" {
		t.Errorf("after remove: %s", got)
	}
}

func whatCannotBeChangedStays(t *testing.T, d *database) {
	s, ctx := d.store(t), t.Context()
	ann := "ann@example.org"
	invalid := func(what string, err error, want string) {
		t.Helper()
		if !errors.As(err, new(account.Invalid)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an account.Invalid with: %s", what, err, want)
		}
	}
	invalid("no such column", s.Set(ctx, ann, account.Fields{"destuser": "x"}), `no column for it, only id, email`)
	invalid("a port", s.Set(ctx, ann, account.Fields{"port": "none"}), `field "port"`)
	invalid("a clear password", s.Set(ctx, ann, account.Fields{"password": "hunter2"}), "usher hash")
	invalid("the name", s.Set(ctx, ann, account.Fields{"user": "x"}), "cannot be changed")
	invalid("NOT NULL", s.Set(ctx, ann, account.Fields{"note": ""}), "the database says")
	invalid("no such column in add", s.Add(ctx, account.Fields{"user": "x", "ssl": "yes"}), "no column for it")
	invalid("control characters", s.Add(ctx, account.Fields{"user": "x\n"}), "control characters")
	if d.dialect != sqLite {
		invalid("a number", s.Set(ctx, ann, account.Fields{"id": "x"}), "the database says")
	}
	if err := s.Add(ctx, account.Fields{"user": ann}); !errors.Is(err, account.ErrExists) {
		t.Errorf("a second ann: %v", err)
	}
	for what, err := range map[string]error{
		"set": s.Set(ctx, "nobody", account.Fields{"host": "x"}), "remove": s.Remove(ctx, ann, "nobody"), "a hostile name": s.Set(ctx, "' OR 1=1 --", account.Fields{"host": "x"}),
	} {
		if !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s of an unknown: %v", what, err)
		}
	}
	if got := usersOf(t, s, ""); got != "ann@example.org bob@example.org cy/x@example.net" {
		t.Errorf("something was changed: %s", got)
	}
	wrongTable := s.settings
	wrongTable.Write.Table = "mail boxes"
	invalid("a table that is not there", d.open(t, wrongTable).Set(ctx, ann, account.Fields{"host": "x"}), "mail boxes")
	wrongKey := s.settings
	wrongKey.Write.Key = `e"m` + "`ail"
	invalid("a key that is not there", d.open(t, wrongKey).Set(ctx, ann, account.Fields{"host": "x"}), "ail")
	wrongColumn := s.settings
	wrongColumn.Write.Columns = map[string]string{"host": "hoost"}
	invalid("a column that is not there", d.open(t, wrongColumn).Set(ctx, ann, account.Fields{"host": "x"}), `no column "hoost"`)
	d.exec(t, "CREATE TABLE twice (email varchar(99), host varchar(9)); INSERT INTO twice VALUES ('ann', 'a'), ('ann', 'b')")
	twice := d.open(t, settings{Lookup: s.Lookup, Write: write{Table: "twice", Key: "email"}})
	invalid("two rows", twice.Set(ctx, "ann", account.Fields{"host": "x"}), "two rows")
}

func aNameMayBeTwoColumns(t *testing.T, d *database) {
	d.exec(t, "CREATE TABLE people (local_part varchar(64), domain varchar(64), host varchar(64), PRIMARY KEY (local_part, domain)); INSERT INTO people VALUES ('ann', 'a.org', 'x'), ('ann', 'b.org', 'y')")
	s := d.open(t, settings{Lookup: mustParse(t, "SELECT host FROM people WHERE local_part = '%n' AND domain = '%d'"), Write: write{Table: "people", Key: "local_part@domain"}})
	if err := s.Set(t.Context(), "ann@b.org", account.Fields{"host": "z"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), account.Fields{"user": "bob@b.org", "host": "w"}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"ann@a.org": "x", "ann@b.org": "z", "bob@b.org": "w"} {
		if got := fields(t, s, user)["host"]; got != want {
			t.Errorf("%s is at %s, want %s", user, got, want)
		}
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

func anImportIsAllOrNothing(t *testing.T, d *database) {
	s, ctx := d.store(t), t.Context()
	bob, eve := account.Fields{"user": "bob@example.org", "host": "imap5"}, account.Fields{"user": "eve@example.org", "host": "imap6"}
	for _, c := range []struct {
		rows iter.Seq2[account.Row, error]
		want string
	}{
		{rowsOf(eve, bob), `line 3: user "bob@example.org": the account exists already; --update`},
		{rowsOf(eve, eve), `line 3: user "eve@example.org" stands on line 2 already`},
		{rowsOf(eve, account.Fields{"user": "x", "port": "x"}), `line 3: user "x": field "port"`},
		{rowsOf(eve, account.Fields{"user": "x", "ssl": "yes"}), `line 3: field "ssl"`},
	} {
		_, err := s.Import(ctx, c.rows, account.Refuse, nil)
		wantError(t, err, c.want)
	}
	seen := 0
	n, err := s.Import(ctx, rowsOf(eve, bob), account.Update, func(n int) { seen = n })
	if n != 2 || seen != 2 || err != nil {
		t.Errorf("Import = %d, %v with progress %d", n, err, seen)
	}
	if got := usersOf(t, s, "*example.org"); got != "ann@example.org bob@example.org eve@example.org" && got != "eve@example.org ann@example.org bob@example.org" {
		t.Errorf("after the import: %s", got)
	}
	if got := fields(t, s, "bob@example.org")["host"]; got != "imap5" {
		t.Errorf("bob is at %s", got)
	}
}

// Two who change an account at once do not overwrite one another unseen.
func aChangeBetweenIsReported(t *testing.T, d *database) {
	s, ctx := d.store(t), t.Context()
	ann := "ann@example.org"
	for what, change := range map[string]func() error{
		"set":    func() error { return s.Set(ctx, ann, account.Fields{"host": "mine"}) },
		"remove": func() error { return s.Remove(ctx, ann) },
	} {
		for _, theirs := range []string{"UPDATE mailboxes SET mailhost = 'theirs'", "UPDATE mailboxes SET note = 'theirs'", "UPDATE mailboxes SET id = NULL"} {
			d.exec(t, "DELETE FROM mailboxes")
			d.exec(t, "INSERT INTO mailboxes (id, email, mailhost) VALUES (1, '"+ann+"', 'imap1')")
			commit := d.hold(t, theirs)
			done := make(chan error)
			go func() { done <- change() }()
			d.waitForWaiter(t)
			commit()
			if err := <-done; !errors.Is(err, account.ErrChanged) {
				t.Errorf("%s against %s: %v", what, theirs, err)
			}
		}
	}
	d.exec(t, "DELETE FROM mailboxes")
	d.exec(t, "INSERT INTO mailboxes (id, email, mailhost) VALUES (1, '"+ann+"', 'imap1')")
	commit := d.hold(t, "UPDATE mailboxes SET mailhost = 'imap1'") // which changes nothing
	done := make(chan error)
	go func() { done <- s.Set(ctx, ann, account.Fields{"host": "mine"}) }()
	d.waitForWaiter(t)
	commit()
	if err := <-done; err != nil || fields(t, s, ann)["host"] != "mine" {
		t.Errorf("after a change that changed nothing: %v", err)
	}
}

// hold changes rows in a transaction that is not committed yet.
func (d *database) hold(t *testing.T, text string) (commit func()) {
	t.Helper()
	tx, err := d.admin(t).BeginTx(t.Context(), nil)
	if err == nil {
		_, err = tx.Exec(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
	}
}

// waitForWaiter returns when somebody waits for the lock.
func (d *database) waitForWaiter(t *testing.T) {
	t.Helper()
	query := map[string]string{
		"postgres": "SELECT count(*) FROM pg_locks WHERE NOT granted",
		"mysql":    "SELECT count(*) FROM information_schema.processlist WHERE command = 'Execute' AND info LIKE '%FOR UPDATE' AND time_ms > 200",
	}[d.driver]
	if query == "" {
		time.Sleep(700 * time.Millisecond) // SQLite does not tell; waiters ask again now and then
		return
	}
	for began := time.Now(); d.server.Value(t, d.name, query) == "0"; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nobody waits")
		}
	}
}
