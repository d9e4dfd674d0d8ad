//go:build linux

package lookup

import (
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"usher/internal/account/embedded"
	accountldap "usher/internal/account/ldap"
	accountsql "usher/internal/account/sql"
	"usher/internal/mariadb"
	"usher/internal/need"
	"usher/internal/postgres"
	"usher/internal/slapd"
)

var databases = accountsql.Driver(embedded.Open)

var contests = []contest{
	{"PostgreSQL", databases, startPostgres},
	{"MariaDB", databases, startMariaDB},
	{"LDAP", accountldap.Driver, startLDAP},
}

// columns are what is asked for of one account.
const columns = "SELECT password, mailhost AS host, destuser FROM users WHERE username = "

func sqlBlock(driver, dsn string) string {
	return fmt.Sprintf("type = 'sql'\ndriver = %q\ndsn = %q\nlookup = %q", driver, dsn, columns+"{user}")
}

// startPostgres: the bare loop has values as text and statements that are not
// prepared, too; else it could not work behind a PgBouncer.
func startPostgres(t *testing.T, n int) (ask, string, string) {
	s := postgres.Start(t)
	inserts(n, func(statement string) { s.Exec(t, "postgres", statement) })
	s.Exec(t, "postgres", "ANALYZE users")
	pool := lend(t, func() (*pgconn.PgConn, error) { return pgconn.Connect(t.Context(), s.DSN("postgres")) }, func(c *pgconn.PgConn) { c.Close(context.Background()) })
	bare := func(ctx context.Context, name string) (string, error) {
		c := <-pool
		defer func() { pool <- c }()
		rr := c.ExecParams(ctx, columns+"$1", [][]byte{[]byte(name)}, nil, nil, nil)
		var row [3]string
		for rr.NextRow() {
			for i, v := range rr.Values() {
				row[i] = string(v)
			}
		}
		_, err := rr.Close()
		return row[1], err
	}
	return bare, sqlBlock("postgres", s.DSN("postgres")), "PostgreSQL " + s.Value(t, "postgres", "SHOW server_version")
}

func startMariaDB(t *testing.T, n int) (ask, string, string) {
	s := mariadb.Start(t)
	s.Exec(t, "", "CREATE DATABASE mail")
	inserts(n, func(statement string) { s.Exec(t, "mail", statement) })
	c, err := mysql.MySQLDriver{}.OpenConnector(s.DSN("mail"))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(flight)
	db.SetMaxIdleConns(flight)
	t.Cleanup(func() { db.Close() })
	bare := func(ctx context.Context, name string) (host string, err error) {
		var hash, user string
		err = db.QueryRowContext(ctx, columns+"?", name).Scan(&hash, &host, &user)
		return host, err
	}
	return bare, sqlBlock("mysql", s.DSN("mail")), "MariaDB " + s.Value(t, "mail", "SELECT version()")
}

func startLDAP(t *testing.T, n int) (ask, string, string) {
	var entries strings.Builder
	for i := range n {
		fmt.Fprintf(&entries, "dn: uid=u%[1]d,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: mailUser\nuid: u%[1]d\ncn: u\nsn: u\nmail: %[2]s\nmailhost: %[3]s\nuserPassword: %[4]s\n\n",
			i, nameOf(i), hostOf(i), hash)
	}
	// Without that index it looks at every entry, for each might be a referral. Access is where what belongs to the database may stand.
	s := slapd.Start(t, slapd.Options{LDIF: entries.String(), Access: "index objectClass eq", Silent: true})
	pool := lend(t, func() (*ldap.Conn, error) { return ldap.DialURL("ldap://" + s.Addr) }, func(c *ldap.Conn) { c.Close() })
	bare := func(_ context.Context, name string) (string, error) {
		c := <-pool
		defer func() { pool <- c }()
		found, err := c.Search(&ldap.SearchRequest{
			BaseDN: s.Suffix, Scope: ldap.ScopeWholeSubtree, SizeLimit: 2, TimeLimit: 5,
			Filter: "(mail=" + ldap.EscapeFilter(name) + ")", Attributes: []string{"uid", "mailhost", "userPassword"},
		})
		if err != nil || len(found.Entries) == 0 {
			return "", err
		}
		e := found.Entries[0]
		_, _ = e.GetAttributeValue("uid"), e.GetAttributeValue("userPassword")
		return e.GetAttributeValue("mailhost"), nil
	}
	block := fmt.Sprintf("type = 'ldap'\nurl = 'ldap://%s'\nbase = %q\nmap = { host = 'mailhost', destuser = 'uid' }", s.Addr, s.Suffix)
	return bare, block, slapdVersion(t)
}

func slapdVersion(t *testing.T) string {
	said, _ := exec.Command(need.Program(t, "slapd"), "-VV").CombinedOutput() // its exit status is 1
	return "OpenLDAP " + string(regexp.MustCompile(`[0-9]+(\.[0-9]+)+`).Find(said))
}

// lend opens as many connections as there are look-ups at a time.
func lend[C any](t *testing.T, dial func() (C, error), end func(C)) chan C {
	pool := make(chan C, flight)
	for range flight {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		pool <- c
		t.Cleanup(func() { end(c) })
	}
	return pool
}
