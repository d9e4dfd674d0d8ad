package sql

import (
	"os"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

const users = `CREATE TABLE users (username varchar(255) NOT NULL PRIMARY KEY, crypt varchar(255), mailhost varchar(255), port int, active char(1));
INSERT INTO users VALUES ('ann@example.org', '{PLAIN}secret', 'imap1.example.org', 1143, 'Y'), ('bob@example.org', NULL, NULL, NULL, 'N'), ('cy@example.org', '{PLAIN}x', 'imap2', 143, 'Y');`

func conformance(t *testing.T, d *database) {
	d.exec(t, users)
	w := accounttest.World{User: "ann@example.org", Password: "secret", Unknown: "nobody@example.org"}
	if d.server != nil {
		w.Stop = func(*testing.T) func() { d.server.Stop(); return func() { d.server.Start() } }
		w.Freeze = func(*testing.T) func() { d.server.Freeze(); return d.server.Thaw }
	} else {
		w.Stop = func(t *testing.T) func() {
			away := func(from, to string) {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			away(d.name, d.name+".away")
			return func() { away(d.name+".away", d.name) }
		}
	}
	for name, where := range map[string]string{"unquoted": "{user}", "quoted": "'%u'", "in_parts": "'%n@%d'"} {
		t.Run(name, func(t *testing.T) {
			lookup := "SELECT crypt AS password, mailhost, port FROM users WHERE active = 'Y' AND username = " + where
			s := d.open(t, settings{Lookup: mustParse(t, lookup), Timeout: 30 * time.Second})
			accounttest.RunSource(t, s, w)
		})
	}
}

// Whatever a name looks like, it is only ever a name.
func hostileNamesFindNobody(t *testing.T, d *database) {
	d.exec(t, users)
	names := []string{
		"", "'", "''", `"`, "`", `\`, `\'`, "' OR 1=1 --", "' OR '1'='1", "\" OR 1=1 --", "'; DROP TABLE users; --", "' UNION SELECT 'x', 'y' --", "$1", "?", ":x", "@x", "{user}", "%u",
		"ann@example.org'", "ann@example.org\x00", "\x00", "\xff", "\xbf'", "ann@example.org\x00' OR 1=1", "%", "_", "*", "$$", "$tag$", "/*", "*/", "--", "#", ";", "\n", "E'\\''",
		strings.Repeat("'", 10_000), strings.Repeat("\\", 10_001), strings.Repeat("x", 1<<20),
	}
	for _, where := range []string{"username = {user}", "username = '%u'", "username = 'x%n' OR username = '%n@%d'", "(username, 'a''%Lu\"') IN (SELECT '%u', 'b')"} {
		s := d.open(t, settings{Lookup: mustParse(t, "SELECT * FROM users WHERE "+where), Pool: 2})
		for _, name := range names {
			if rec, err := s.Ask(t.Context(), account.Query{Name: name}); err == nil {
				t.Errorf("%s: %.40q gives %v", where, name, rec.Fields)
			}
		}
		if h := s.Health(); h[0].Err != nil {
			t.Errorf("%s: the server is blamed: %v", where, h[0].Err)
		}
	}
	if f := fields(t, d.source(t, "SELECT mailhost FROM users WHERE username = {user}"), "ann@example.org"); f["mailhost"] != "imap1.example.org" {
		t.Errorf("afterwards the table says %v", f)
	}
}

// "usher explain" shows what was asked.
func whatIsAskedIsTraced(t *testing.T, d *database) {
	d.exec(t, users)
	r := &account.Reader{Name: "mail", Source: d.source(t, "SELECT mailhost AS host FROM users WHERE username = '%n@%d' AND active = 'Y'")}
	trace := new(account.Trace)
	if _, err := r.Lookup(t.Context(), account.Query{Name: "ann@example.org", Trace: trace}); err != nil {
		t.Fatal(err)
	}
	asked := trace.Steps[0].Asked
	want := "SELECT mailhost AS host FROM users WHERE username = " + d.dialect.place(1) + ` AND active = 'Y'  -- "ann@example.org"`
	if len(asked) != 1 || asked[0].Text != want || asked[0].Server == "" {
		t.Errorf("%+v, want %s", asked, want)
	}
}
