package sql

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/dovecot"
)

// Connections of a server that was restarted are dead; nobody's login fails of that.
func deadConnectionsAreReplaced(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("a file has no connections")
	}
	d.exec(t, users)
	s := d.source(t, "SELECT mailhost FROM users WHERE username = {user}")
	together(t, s, 50)
	d.server.Stop()
	d.server.Start()
	together(t, s, 50)
	d.server.Stop()
	d.server.Start()
	for range 20 {
		if f := fields(t, s, "ann@example.org"); f["mailhost"] != "imap1.example.org" {
			t.Errorf("after a restart: %v", f)
		}
	}
}

// together asks n times at once, and wants n answers.
func together(t *testing.T, s *Source, n int) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := s.Ask(t.Context(), account.Query{Name: "ann@example.org"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// connections is how many the server sees of a database, without those of the test.
func (d *database) connections(t *testing.T) int {
	t.Helper()
	query := "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'usher' AND datname = '" + d.name + "'"
	if d.dialect == mySQL {
		query = "SELECT count(*) FROM information_schema.processlist WHERE db = '" + d.name + "' AND id <> connection_id()"
	}
	n, err := strconv.Atoi(d.server.Value(t, d.name, query))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A hundred who come while the server restarts open no more connections than the pool
// has, and leave none behind.
func aStormStaysWithinThePool(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("a file has no connections")
	}
	d.exec(t, users)
	s := d.open(t, settings{Lookup: mustParse(t, "SELECT mailhost FROM users WHERE username = {user}"), Pool: 4})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for ctx.Err() == nil {
				_, err := s.Ask(ctx, account.Query{Name: "ann@example.org"})
				if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) {
					t.Errorf("a server that restarts is not %v", err)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 2 {
		watch(t, d, 4)
		d.server.Stop()
		time.Sleep(100 * time.Millisecond)
		d.server.Start()
		wellAgain(t, s)
		watch(t, d, 4)
	}
	cancel()
	all.Wait()
	if n := d.connections(t); n > 4 {
		t.Errorf("%d connections are left", n)
	}
	s.asked.Each(func(name string, db *sql.DB) {
		for began := time.Now(); db.Stats().InUse > 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s: connections are never given back: %+v", name, db.Stats())
			}
		}
	})
	together(t, s, 20)
}

func watch(t *testing.T, d *database, most int) {
	t.Helper()
	for range 5 {
		if n := d.connections(t); n > most {
			t.Errorf("%d connections, but the pool has %d", n, most)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func wellAgain(t *testing.T, s *Source) {
	t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err = s.Ask(t.Context(), account.Query{Name: "ann@example.org"}); err == nil {
			return
		}
	}
	t.Fatalf("it is not well again: %v", err)
}

// A database that comes up after usher is found.
func aServerMayComeLater(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("a file must be there")
	}
	d.exec(t, users)
	d.server.Stop()
	s := d.source(t, "SELECT mailhost FROM users WHERE username = {user}")
	_, err := s.Ask(t.Context(), account.Query{Name: "ann@example.org"})
	wantError(t, err, "nobody listens there")
	if h := s.Health(); len(h) != 1 || h[0].Err == nil || h[0].Server != d.server.Addr() {
		t.Errorf("its health is %v", h)
	}
	d.server.Start()
	wellAgain(t, s)
}

// Where tables or functions are made anew under open connections, the next login sees
// the new ones.
func aChangedTableHealsByItself(t *testing.T, d *database) {
	d.exec(t, users)
	s := d.source(t, "SELECT * FROM users WHERE username = {user}")
	together(t, s, 20)
	d.exec(t, "DROP TABLE users")
	d.exec(t, "CREATE TABLE users (host int, username varchar(20)); INSERT INTO users VALUES (7, 'ann@example.org')")
	for range 20 {
		if f := fields(t, s, "ann@example.org"); f["host"] != "7" || len(f) != 2 {
			t.Fatalf("the new table says %v", f)
		}
	}
	d.exec(t, "ALTER TABLE users ADD port varchar(9) DEFAULT '143'")
	for range 20 {
		if f := fields(t, s, "ann@example.org"); f["port"] != "143" {
			t.Fatalf("after a column was added: %v", f)
		}
	}
}

// While somebody holds a lock on the table, look-ups wait in vain: the first for as
// long as allowed, the others not at all.
func aTableThatIsLockedHoldsNobodyForLong(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("SQLite locks the file for writers only")
	}
	d.exec(t, users)
	s := d.open(t, settings{Lookup: mustParse(t, "SELECT mailhost FROM users WHERE username = {user}"), Timeout: time.Second})
	release := d.lockTable(t, "users")
	for i := range 6 {
		began := time.Now()
		_, err := s.Ask(t.Context(), account.Query{Name: "ann@example.org"})
		if err == nil || errors.Is(err, account.ErrUnknown) {
			t.Fatalf("of a locked table: %v", err)
		}
		if took := time.Since(began); took > 900*time.Millisecond && i > 0 {
			t.Errorf("look-up %d waited for %v", i, took)
		}
		time.Sleep(300 * time.Millisecond)
	}
	release()
	wellAgain(t, s)
}

// lockTable holds a table until release is called.
func (d *database) lockTable(t *testing.T, table string) (release func()) {
	t.Helper()
	db := d.admin(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range map[string][]string{
		"postgres": {"BEGIN", "LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE"}, "mysql": {"LOCK TABLES " + table + " WRITE"},
	}[d.driver] {
		if _, err := conn.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		text := map[string]string{"postgres": "ROLLBACK", "mysql": "UNLOCK TABLES"}[d.driver]
		if _, err := conn.ExecContext(t.Context(), text); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// Anybody can send any name. What the database says of one that it cannot compare is
// about that name: else a stranger could take the server away from all others.
func anOddNameLeavesTheServerWell(t *testing.T, d *database) {
	columns, queries := "", []string{"SELECT a FROM odd WHERE id = {user}"}
	switch d.dialect {
	case mySQL:
		columns = " CHARACTER SET latin1"
		queries = append(queries, "SELECT a FROM odd WHERE {user} IN (a, b)", "SELECT a FROM odd WHERE {user} IN (a, b, c)", "SELECT a FROM odd WHERE {user} BETWEEN a AND b")
	case postgreSQL:
		queries = append(queries, "SELECT a FROM odd WHERE b = repeat({user}, 2000000000)", "SELECT a FROM odd WHERE a ~ {user}")
	}
	d.exec(t, "CREATE TABLE odd (id int, a varchar(9), b varchar(9), c varchar(9))"+columns+"; INSERT INTO odd VALUES (1, 'ann', 'anna', 'x')")
	for _, query := range queries {
		s := d.source(t, query)
		for _, name := range []string{"☃", "😀", "[", "99999999999999999999"} {
			_, _ = s.Ask(t.Context(), account.Query{Name: name})
			if h := s.Health(); h[0].Err != nil {
				t.Fatalf("%s with %q: %v", query, name, h[0].Err)
			}
		}
	}
}

// Who gives up is let go at once, and the server does not work on.
func whoGivesUpIsLetGo(t *testing.T, d *database) {
	sleep := map[string]string{"postgres": "SELECT pg_sleep(60), {user} AS user", "mysql": "SELECT sleep(60), {user} AS user"}[d.driver]
	if sleep == "" {
		t.Skip("SQLite cannot sleep")
	}
	s := d.source(t, sleep)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := s.Ask(ctx, account.Query{Name: "ann"})
	if took := time.Since(began); took > 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v after %v", err, took)
	}
	if h := s.Health(); h[0].Err != nil {
		t.Errorf("the server is blamed: %v", h[0].Err)
	}
	if d.dialect == mySQL {
		return // it works on: only a second connection could tell it
	}
	for began := time.Now(); d.server.Value(t, d.name, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'") != "0"; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the server works on")
		}
	}
}

// What a server says has a bound.
func anEndlessValueIsRefused(t *testing.T, d *database) {
	long := map[string]string{"postgres": "repeat('x', 100000000)", "mysql": "repeat('x', 15000000), repeat('y', 15000000)"}[d.driver]
	if long == "" {
		t.Skip("a file is ours")
	}
	_, err := d.lenient(t, "SELECT {user}, "+long)
	if err == nil || errors.Is(err, account.ErrUnknown) {
		t.Errorf("an endless value: %v", err)
	}
}

// The certificate of the server is verified as the dsn or the key ca says.
func certificatesAreVerified(t *testing.T, d *database) {
	if d.server == nil {
		t.Skip("a file has no certificate")
	}
	_, _, stranger := dovecot.Certificate(t, "localhost")
	host, port, _ := net.SplitHostPort(d.server.Addr())
	other := net.JoinHostPort("127.0.0.2", port) // relayed to the server, but not a name of it
	relay(t, other, d.server.Addr())
	dsn := map[string]func(more string) string{
		"postgres": func(more string) string {
			return strings.ReplaceAll(d.dsn(), " sslmode=disable", "") + " " + more
		},
		"mysql": func(more string) string { return d.dsn() + "?" + more },
	}[d.driver]
	cases := []struct {
		s    settings
		want string // in the error; "": it works
	}{
		{settings{DSN: dsn(""), CA: d.ca}, ""},
		{settings{DSN: dsn(""), CA: stranger}, "signed by somebody unknown"},
		{settings{DSN: dsn(""), CA: d.ca, Hosts: []string{other}}, "for other names"},
		{settings{DSN: dsn(""), CA: d.ca, Hosts: []string{"localhost:" + port}}, ""},
	}
	switch d.driver {
	case "postgres":
		url := "postgres://postgres:hush%20hush@" + host + ":" + port + "/" + d.name + "?sslmode=verify-full&sslrootcert="
		cases = append(cases, []struct {
			s    settings
			want string
		}{
			{settings{DSN: dsn("sslmode=verify-full sslrootcert=" + d.ca)}, ""},
			{settings{DSN: dsn("sslmode=verify-full sslrootcert=" + stranger)}, "signed by somebody unknown"},
			{settings{DSN: url + d.ca}, ""},
			{settings{DSN: url + d.ca, Hosts: []string{other}}, "for other names"},
			{settings{DSN: url + stranger}, "signed by somebody unknown"},
		}...)
	case "mysql":
		cases = append(cases, []struct {
			s    settings
			want string
		}{
			{settings{DSN: dsn("tls=true")}, "signed by somebody unknown"},
			{settings{DSN: dsn("tls=skip-verify"), CA: stranger}, "signed by somebody unknown"},
			{settings{DSN: dsn("tls=skip-verify")}, ""},
		}...)
	}
	secured := map[string]string{
		"postgres": "SELECT ssl AS host, '%u' AS u FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
		"mysql":    "SELECT IF(variable_value = '', 'N', 'Y') AS host, '%u' AS u FROM information_schema.session_status WHERE variable_name = 'ssl_cipher'",
	}[d.driver]
	for _, c := range cases {
		c.s.Lookup = mustParse(t, secured)
		rec, err := d.open(t, c.s).Ask(t.Context(), account.Query{Name: "ann"})
		what := strings.Join(append(c.s.Hosts, filepath.Base(c.s.CA), c.s.DSN[strings.LastIndexAny(c.s.DSN, "?'"):]), " ")
		switch {
		case c.want != "":
			wantError(t, err, c.want)
		case err != nil || rec.Fields["host"] != "Y":
			t.Errorf("%s: %v (%v)", what, rec.Fields, err)
		}
	}
}
