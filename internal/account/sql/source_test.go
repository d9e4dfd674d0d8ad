package sql

import (
	"os"
	"testing"
	"time"

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
