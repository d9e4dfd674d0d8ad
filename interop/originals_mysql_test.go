package interop

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"usher/internal/daemon"
	"usher/internal/dovecot"
	"usher/internal/mariadb"
)

const authmysqlrc = `MYSQL_SERVER		127.0.0.1
MYSQL_USERNAME		admin
MYSQL_PASSWORD		hush hush
MYSQL_PORT		%s
MYSQL_OPT		0
MYSQL_DATABASE		courier
MYSQL_USER_TABLE	passwd
MYSQL_CRYPT_PWFIELD	crypt
MYSQL_UID_FIELD		uid
MYSQL_GID_FIELD		gid
MYSQL_LOGIN_FIELD	id
MYSQL_HOME_FIELD	home
MYSQL_NAME_FIELD	name
MYSQL_AUXOPTIONS_FIELD	`

// What Dovecot's page has in sql.conf, and the tables.
const (
	dovecotsConnect = `host=sqlhost1 host=sqlhost2 dbname=mail user=dovecot password=hush`

	proxyTable = `CREATE TABLE proxy ( user varchar(255) NOT NULL, host varchar(16) default NULL, destuser varchar(255) default NULL, PRIMARY KEY (user) );
		INSERT INTO proxy VALUES ('john', '192.168.0.1', NULL), ('joe', '192.168.0.2', 'joe@domain.net');`
	proxyQuery = `SELECT NULL AS password, host, destuser, 'Y' AS nologin, 'Y' AS nodelay, 'Y' AS proxy, 'Y' AS nopassword FROM proxy WHERE user = '%u'`

	domainTable = `CREATE TABLE proxy_domain ( domain varchar(255) NOT NULL, host varchar(16) default NULL, PRIMARY KEY (domain) );
		INSERT INTO proxy_domain VALUES ('domain1.com', '192.168.0.1'), ('domain2.com', '192.168.0.2');`
	domainQuery = `SELECT NULL AS password, NULL AS destuser, host, 'Y' AS nologin, 'Y' AS nodelay, 'Y' AS nopassword, 'Y' AS proxy FROM proxy_domain WHERE domain = '%d'`
)

func TestOriginalMySQL(t *testing.T) {
	t.Parallel()
	servers := twoServers(t)
	db := mariadb.Start(t)
	db.Exec(t, "", "CREATE DATABASE courier; CREATE DATABASE mail; CREATE USER dovecot@'%' IDENTIFIED BY 'hush'; GRANT SELECT ON mail.* TO dovecot@'%'")
	db.Exec(t, "courier", courierTable)
	db.Exec(t, "mail", proxyTable+domainTable)

	aux := auxoptions{"mysql", db.DSN("courier"), "authmysql", "authmysqlrc", fmt.Sprintf(authmysqlrc, db.Port)}
	t.Run("P000-7", func(t *testing.T) { aux.lead(t, servers, `CONCAT("mailhost=",mailhost)`, false) })
	t.Run("P000-9", func(t *testing.T) {
		aux.lead(t, servers, `CONCAT("disablepop3=",disablepop3,",mailhost=",mailhost,",sharedgroup=x")`, true)
	})

	// The page's sqlhost1 is down; sqlhost2 is ours.
	hosts := strings.NewReplacer("sqlhost1", "127.0.0.1 port="+daemon.FreePort(t), "sqlhost2", "127.0.0.1 port="+db.Port)
	page := dovecotPage{servers, db, filepath.Join(t.TempDir(), "sql.conf")}
	write(t, page.dsn, hosts.Replace(dovecotsConnect))
	t.Run("P003-8 to 15, a table of users", page.users)
	t.Run("P003-16, a table of domains", page.domains)
	t.Run("P003-23, SIGHUP empties the cache", page.sighup)
	t.Run("P002-10, connections to the database are kept", page.connections)
}

// A dovecotPage is what P003 describes: two mail servers, and a database.
type dovecotPage struct {
	servers [2]*dovecot.Server
	db      *mariadb.Server
	dsn     string // a file
}

// asks is a configuration with a query of the page. The example has what were its
// auth_cache_size, auth_cache_ttl and auth_worker_max_count (P003-11).
func (d dovecotPage) asks(t *testing.T, query string, changes ...string) string {
	t.Helper()
	return called(d.servers, "192.168.0.1", "192.168.0.2") + example(t, "sql-mysql.toml", append(changes, "mail.dsn", d.dsn, proxyQuery, query)...)
}

func (d dovecotPage) users(t *testing.T) {
	p := start(t, setup{config: d.asks(t, proxyQuery)})
	p.leads(t, map[string]string{"john": "john on first", "joe": "joe@domain.net on second", "jim": "", "j%": "", "' OR '1'='1": ""})
	p.denies(t, "john", "joe")
	if strings.Contains(p.logText(), "hush") {
		t.Error("the log has the password of the database")
	}
}

func (d dovecotPage) domains(t *testing.T) {
	p := start(t, setup{config: d.asks(t, domainQuery)})
	p.leads(t, map[string]string{"x@domain1.com": "x@domain1.com on first", "y@domain2.com": "y@domain2.com on second", "z@domain3.com": "", "john": ""})
	p.denies(t, "x@domain1.com")
}

func (d dovecotPage) sighup(t *testing.T) {
	p := start(t, setup{config: d.asks(t, proxyQuery)})
	p.leads(t, map[string]string{"john": "john on first"})
	d.db.Exec(t, "mail", "UPDATE proxy SET host = '192.168.0.2' WHERE user = 'john'")
	p.leads(t, map[string]string{"john": "john on first"}) // as is remembered
	if err := p.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.eventually("the configuration is reloaded", func() bool { return strings.Contains(p.logText(), "configuration reloaded") })
	p.leads(t, map[string]string{"john": "john on second"})
}

func (d dovecotPage) connections(t *testing.T) {
	p := start(t, setup{config: d.asks(t, proxyQuery, `good = "7200s"`, `good = "0s", unknown = "0s", stale = "0s"`)})
	people := map[string]string{"joe": "joe@domain.net on second", "jim": ""}
	p.leads(t, people)
	before := d.opened(t)
	for range 5 {
		p.leads(t, people)
	}
	if more := d.opened(t) - before - 1; more > 0 { // to ask takes one, too
		t.Errorf("20 logins one after the other have opened %d connections", more)
	}
}

// opened is how many connections the database has had.
func (d dovecotPage) opened(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(d.db.Value(t, "", "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'connections'"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
