package sql

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// What a column holds becomes text as people write it, whatever its type.
func everyTypeIsText(t *testing.T, d *database) {
	common := account.Fields{"user": "ann", "whole": "-42", "exact": "1.50", "float": "1000000", "long": strings.Repeat("ä", 1000)}
	queries := map[string]string{
		"postgres": `SELECT {user} AS user, -42 AS whole, 1.50 AS exact, 1e6::float8 AS float, repeat('ä', 1000) AS long, NULL AS none, ''::text AS empty,
			true AS yes, false AS no, '192.168.0.1'::inet AS address, '192.168.0.1/24'::inet AS masked, '10.0.0.0/8'::cidr AS net, '\x616e6e'::bytea AS bytes,
			'ab'::char(10) AS padded, 'b'::mood AS enum, '2026-01-02 03:04:05'::timestamp AS at, 5::smallint AS small, 9223372036854775807 AS big,
			'00000000-0000-0000-0000-000000000001'::uuid AS id, '{{"a": 1}'::jsonb AS json, 'x'::name AS name_, 'v'::"char" AS letter`,
		"mysql": `SELECT {user} AS user, -42 AS whole, 1.50 AS exact, CAST(1000000 AS double) AS 'float', REPEAT('ä', 1000) AS 'long', NULL AS none, '' AS empty,
			t.*, CAST(18446744073709551615 AS unsigned) AS huge FROM t`,
		"sqlite": `SELECT {user} AS user, -42 AS whole, '1.50' AS exact, 1e6 AS float, replace(hex(zeroblob(500)), '0', 'ä') AS long, NULL AS none, '' AS empty,
			t.*, x'616e6e' AS bytes, 1 = 1 AS truth FROM t`,
	}
	more := map[string]account.Fields{
		"postgres": {
			"yes": "Y", "no": "N", "address": "192.168.0.1", "masked": "192.168.0.1/24", "net": "10.0.0.0/8", "bytes": "ann", "padded": "ab", "enum": "b",
			"at": "2026-01-02 03:04:05", "small": "5", "big": "9223372036854775807", "id": "00000000-0000-0000-0000-000000000001", "json": `{"a": 1}`, "name_": "x", "letter": "v",
		},
		"mysql": {
			"yes": "1", "no": "0", "bit": "1", "bits": "513", "padded": "ab", "bytes": "ann", "enum": "b", "sets": "a,b", "at": "2026-01-02 03:04:05", "day": "2026-01-02",
			"small": "5", "half": "0.5", "huge": "18446744073709551615",
		},
		"sqlite": {"yes": "1", "no": "0", "at": "2026-01-02 03:04:05", "day": "2026-01-02 00:00:00", "seconds": "1767323045", "bytes": "ann", "truth": "1"},
	}
	d.exec(t, map[string]string{
		"postgres": `CREATE TYPE mood AS ENUM ('a', 'b')`,
		"mysql": `CREATE TABLE t (yes bool, no tinyint(1), bit bit(1), bits bit(10), padded char(10), bytes varbinary(9), enum enum('a','b'), sets set('a','b'), at datetime, day date, small smallint, half float);
			INSERT INTO t VALUES (true, false, b'1', b'1000000001', 'ab', 'ann', 'b', 'a,b', '2026-01-02 03:04:05', '2026-01-02', 5, 0.5)`,
		"sqlite": `CREATE TABLE t (yes BOOLEAN, no BOOLEAN, at DATETIME, day DATE, seconds DATETIME); INSERT INTO t VALUES (true, 0, '2026-01-02 03:04:05', '2026-01-02', 1767323045)`,
	}[d.driver])
	want := maps.Clone(common)
	maps.Copy(want, more[d.driver])
	if diff := cmp.Diff(want, fields(t, d.source(t, queries[d.driver]), "ann")); diff != "" {
		t.Error(diff)
	}
}

// Nobody is let in as one of two, and no half of a row is used.
func aRowThatCannotBeRightIsNoAccount(t *testing.T, d *database) {
	d.exec(t, "CREATE TABLE accounts (name varchar(99), host varchar(99)); INSERT INTO accounts VALUES ('ann', 'a'), ('bob', 'b'), ('bob', 'b'), ('cy', NULL)")
	table := d.source(t, "SELECT host FROM accounts WHERE name = {user}")
	for range 2 {
		_, err := table.Ask(t.Context(), account.Query{Name: "bob"})
		wantError(t, err, `two rows for "bob"`)
	}
	if h := table.Health(); h[0].Err != nil {
		t.Errorf("the server is blamed for a row: %v", h[0].Err)
	}
	if f := fields(t, table, "cy"); f == nil || len(f) > 0 {
		t.Errorf("a row of NULLs is %v", f)
	}
	if _, err := table.Ask(t.Context(), account.Query{Name: "dan"}); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("no row: %v", err)
	}
	wide := strings.TrimSuffix(strings.Repeat("1, ", maxColumns), ", ")
	blob := map[string]string{"postgres": `'\xff'::bytea`, "mysql": "x'ff'", "sqlite": "x'ff'"}[d.driver]
	for _, c := range []struct{ query, want string }{
		{"SELECT {user} AS host, 'x' AS host", `two columns are named "host"`},
		{`SELECT {user} AS host, 'x' AS "HOST"`, `two columns are named "host"`},
		{"SELECT {user} AS x, " + wide, "101 columns"},
		{"SELECT {user} AS x, " + d.repeat(maxValue+1) + " AS y", `column "y": its value has 65537 bytes`},
		{"SELECT {user} AS x, " + blob + " AS y", `column "y": its value is not valid UTF-8`},
		{"SELECT host FROM accounts WHERE name <> {user}", `two rows for "ann"`},
		{"SELECT host FROM accounts WHERE nom = {user}", "check the columns' names"},
		{"SELECT host FROM comptes WHERE name = {user}", "comptes"},
	} {
		_, err := d.lenient(t, c.query)
		wantError(t, err, c.want)
		if strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("more than one line: %q", err)
		}
	}
	for _, query := range []string{"SELECT {user} AS host, 'ann' AS host", "SELECT NULL AS host, {user} AS host", "SELECT {user} AS host, " + d.repeat(maxValue) + " AS y"} {
		if f, err := d.lenient(t, query); err != nil || f["host"] != "ann" {
			t.Errorf("%.80s: %v, %v", query, f, err)
		}
	}
}

func (d *database) repeat(n int) string {
	if d.dialect == sqLite {
		return fmt.Sprintf("substr(replace(hex(zeroblob(%d)), '0', 'x'), 1, %d)", n, n)
	}
	return fmt.Sprintf("repeat('x', %d)", n)
}

// lenient asks for ann with a query that a source may not even open with.
func (d *database) lenient(t *testing.T, query string) (account.Fields, error) {
	t.Helper()
	p := d.plan(t, query)
	return p.look(t.Context(), d.pool(t, p), account.Query{Name: "ann"})
}

func (d *database) plan(t *testing.T, query string) *plan {
	t.Helper()
	p, err := newPlan(settings{Driver: d.driver, DSN: d.dsn(), Lookup: mustParse(t, query), Pool: 1, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (d *database) pool(t *testing.T, p *plan) *sql.DB {
	db := p.pool(p.servers[0].connect)
	t.Cleanup(func() { db.Close() })
	return db
}

// A text with a variable in it is what the database itself would read in its place.
func quotesMeanWhatTheyMean(t *testing.T, d *database) {
	texts := []string{
		"'%n'", "'it''s %n'", "'%n@%d'", `'a"b` + "`" + `c %n'`, "'%% %n {{}'", "'/* %n */ -- #'", "' %n '",
	}
	switch d.driver {
	case "postgres":
		texts = append(texts, `E'\'%n\\ \t\x41\102\u00e4\U0001F600\q'`, `'\%n\'`, "$$%n'$$", "$a$%n$$$a$", "N'%n'", "'%n'::varchar", "concat('<%n', '%d>')", "lower('%Un')")
	case "mysql":
		texts = append(texts, `"%n""'"`, `'\'%n\\ \t\q\%%\_\Z'`, `"\"%n"`, "CONCAT('<%n', \"%d>\")", "N'%n'")
	case "sqlite":
		texts = append(texts, `'\%n\'`, "'%n' || '%d'")
	}
	db := d.pool(t, d.plan(t, "SELECT '%n' AS x"))
	for _, text := range texts {
		bound, err := d.lenient(t, "SELECT "+text+" AS x")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		pasted := strings.NewReplacer("%n", "ann", "%d", "", "%Un", "ANN", "{{", "{", "%%", "%").Replace(text)
		var want string
		if err := db.QueryRow("SELECT " + pasted).Scan(&want); err != nil {
			t.Fatalf("%s: %v", pasted, err)
		}
		if bound["x"] != want {
			t.Errorf("%s is %q, but %s is %q", text, bound["x"], pasted, want)
		}
	}
}
