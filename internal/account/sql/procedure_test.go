package sql

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// What is called may take and give what it likes.
func proceduresAndFunctionsAreAsked(t *testing.T, d *database) {
	for _, text := range map[string][]string{
		"postgres": {
			"CREATE FUNCTION place(who varchar(32), OUT host inet, OUT port int) AS $$ SELECT '192.168.0.1'::inet, 143 WHERE who LIKE 'a%' $$ LANGUAGE sql",
			"CREATE FUNCTION grumpy(text) RETURNS text AS $$ BEGIN RAISE EXCEPTION 'no % today', $1; END $$ LANGUAGE plpgsql",
			"CREATE FUNCTION bytes(bytea) RETURNS SETOF text AS $$ SELECT encode($1, 'hex') $$ LANGUAGE sql",
			"CREATE TABLE nets (net inet, host varchar(9)); INSERT INTO nets VALUES ('192.0.2.7', 'near')",
		},
		"mysql": {
			"CREATE PROCEDURE place(IN who varchar(32)) BEGIN SET @x = who; SELECT who AS user, 'imap1' AS host; SELECT 1 AS host UNION SELECT 2; END",
			"CREATE PROCEDURE nobody(IN who varchar(32)) SELECT who AS user FROM DUAL WHERE 1 = 0",
			"CREATE PROCEDURE grumpy(IN who varchar(32)) BEGIN SELECT who AS user; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no ann today'; END",
			"CREATE PROCEDURE silent(IN who varchar(32)) SET @x = who",
			"CREATE FUNCTION place_of(who varchar(32)) RETURNS varchar(32) DETERMINISTIC RETURN CONCAT('at ', who)",
		},
	}[d.driver] {
		d.exec(t, text)
	}
	for _, c := range map[string][]struct {
		query string
		want  account.Fields // nil: unknown
		err   string
	}{
		"postgres": {
			{"SELECT * FROM place('%u')", account.Fields{"host": "192.168.0.1", "port": "143"}, ""},
			{"SELECT (place({user})).*", account.Fields{"host": "192.168.0.1", "port": "143"}, ""},
			{"SELECT * FROM place({domain})", account.Fields{}, ""}, // one row, of NULLs
			{"SELECT grumpy('%u')", nil, `the database says "no ann today" (P0001)`},
			{"SELECT * FROM nothing('%u')", nil, "check the function's name"},
			{"SELECT * FROM bytes('%u')", account.Fields{"bytes": "616e6e"}, ""},
			{"SELECT host FROM nets WHERE net = '192.0.2.7' AND '%u' <> ''", account.Fields{"host": "near"}, ""},
			{"SELECT host FROM nets WHERE net >>= '%r'", nil, "inet"},
			{"SELECT concat('x=', {user}, ',y=', '%n') AS options", account.Fields{"options": "x=ann,y=ann"}, ""},
			{"SELECT json_build_object('u', {user}, 'n', '%n') AS json", account.Fields{"json": `{"u" : "ann", "n" : "ann"}`}, ""},
		},
		"mysql": {
			{"CALL place('%u')", account.Fields{"user": "ann", "host": "imap1"}, ""},
			{"CALL place({user});", account.Fields{"user": "ann", "host": "imap1"}, ""},
			{"CALL nobody('%u')", nil, ""},
			{"CALL silent('%u')", nil, ""},
			{"CALL grumpy('%u')", nil, `the database says "no ann today" (error 1644)`},
			{"CALL nothing('%u')", nil, "check the function's name"},
			{"SELECT place_of('%u') AS host", account.Fields{"host": "at ann"}, ""},
		},
		"sqlite": {
			{"SELECT value ->> 'host' AS host FROM json_each('[{{\"host\": \"imap1\"}]') WHERE '%u' = 'ann'", account.Fields{"host": "imap1"}, ""},
		},
	}[d.driver] {
		for range 3 { // a connection is still good after it
			f, err := d.lenient(t, c.query)
			switch {
			case c.err != "":
				wantError(t, err, c.err)
			case c.want == nil:
				if !errors.Is(err, account.ErrUnknown) {
					t.Errorf("%s: %v, %v; want it to be unknown", c.query, f, err)
				}
			case err != nil || !cmp.Equal(f, c.want):
				t.Errorf("%s: %v, %v; want %v", c.query, f, err, c.want)
			}
		}
	}
}
