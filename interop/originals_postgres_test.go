package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/postgres"
)

const authpgsqlrc = `PGSQL_CONNECTION	host=127.0.0.1 port=%s dbname=courier user=admin password=admin
PGSQL_USER_TABLE	passwd
PGSQL_CRYPT_PWFIELD	crypt
PGSQL_UID_FIELD		uid
PGSQL_GID_FIELD		gid
PGSQL_LOGIN_FIELD	id
PGSQL_HOME_FIELD	home
PGSQL_NAME_FIELD	name
PGSQL_AUXOPTIONS_FIELD	`

// The function of Dovecot's page is in the schema dovecot, but the query does not say
// so: whoever owns that database has set the path.
const pathToFunction = `ALTER ROLE dovecotdba SET search_path = dovecot;
	GRANT USAGE ON SCHEMA dovecot TO dovecotdba;
	GRANT SELECT ON ALL TABLES IN SCHEMA dovecot TO dovecotdba;`

func TestOriginalPostgreSQL(t *testing.T) {
	t.Parallel()
	servers := twoServers(t)
	db := postgres.Start(t)
	for _, sql := range []string{
		"CREATE ROLE admin LOGIN PASSWORD 'admin'", "CREATE DATABASE courier OWNER admin",
		"CREATE ROLE dovecotdba LOGIN PASSWORD 'dovecotpw'", "CREATE DATABASE dovecotdb",
	} {
		db.Exec(t, "postgres", sql)
	}
	db.Exec(t, "courier", "SET ROLE admin;"+strings.ReplaceAll(courierTable, " char(", " varchar(")) // as README.authpostgres says
	db.Exec(t, "dovecotdb", read(t, "testdata/domain_mapping.sql")+pathToFunction)

	aux := auxoptions{"postgres", db.DSN("courier"), "authpgsql", "authpgsqlrc", fmt.Sprintf(authpgsqlrc, db.Port)}
	t.Run("P000-8", func(t *testing.T) { aux.lead(t, servers, `'mailhost=' || mailhost`, false) })
	t.Run("P000-9", func(t *testing.T) { // the document has ",mailhost=" in quotes that PostgreSQL takes for a column
		aux.lead(t, servers, `'disablepop3=' || disablepop3 || ',mailhost=' || mailhost || ',sharedgroup=x'`, true)
	})

	page := campusPage{servers, db, filepath.Join(t.TempDir(), "sql.conf")}
	write(t, page.dsn, "host=localhost dbname=dovecotdb user=dovecotdba password=dovecotpw\n")
	t.Run("P003-17, a function", page.function)
	t.Run("P003-8, a table with addresses", page.addresses)
	t.Run("P003-18, others can read the password of the database", page.readable)
}

// A campusPage is what P003 describes under "Campus Dovecot proxy".
type campusPage struct {
	servers [2]*dovecot.Server
	db      *postgres.Server
	dsn     string // a file
}

const (
	callFunction = "SELECT * FROM domain_mapping('%u')"
	mailboxes    = "SELECT password, host, destuser FROM mailboxes WHERE username = '%u'" // of the example
)

func (c campusPage) start(t *testing.T, query string) *proxy {
	t.Helper()
	return start(t, setup{config: called(c.servers, "192.168.0.1", "192.168.0.2") + example(t, "sql-postgres.toml",
		"mail.dsn", c.dsn, `"db1.internal.example.org", "db2.internal.example.org"`, strconv.Quote("localhost:"+c.db.Port), mailboxes, query)})
}

func (c campusPage) function(t *testing.T) {
	p := c.start(t, callFunction)
	p.leads(t, map[string]string{
		"someuser@labo1": "someuser on first", "someuser@labo2": "someuser on second", "someuser@LABO2": "someuser on second",
		"someuser@unknownlabo": "", "someuser": "",
	})
	p.denies(t, "someuser@labo1")
	if strings.Contains(p.logText(), "others can read") {
		t.Error("a warning without a reason")
	}
}

func (c campusPage) addresses(t *testing.T) {
	c.db.Exec(t, "dovecotdb", fmt.Sprintf(`CREATE TABLE dovecot.mailboxes (username text PRIMARY KEY, password text, host inet NOT NULL, destuser text);
		INSERT INTO dovecot.mailboxes VALUES ('user@example.com', '%s', '192.168.0.1', NULL), ('joe', NULL, '192.168.0.2', 'joe@domain.net');
		GRANT SELECT ON dovecot.mailboxes TO dovecotdba`, theirHash))
	p := c.start(t, mailboxes)
	p.leads(t, map[string]string{"user@example.com": "user@example.com on first", "joe": "joe@domain.net on second", "jim": ""})
	p.denies(t, "user@example.com", "joe")
}

func (c campusPage) readable(t *testing.T) {
	if err := os.Chmod(c.dsn, 0o644); err != nil {
		t.Fatal(err)
	}
	p := c.start(t, callFunction)
	for by, said := range map[string]string{"check": p.command("check"), "serve": p.logText()} {
		if !strings.Contains(said, "others can read or change") || strings.Contains(said, "dovecotpw") {
			t.Errorf("usher %s says:\n%s", by, said)
		}
	}
}
