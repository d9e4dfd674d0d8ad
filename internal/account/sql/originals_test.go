package sql

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// The texts of the documents that people have set their systems up by, as they stand.
const (
	tableProxy       = `CREATE TABLE proxy ( user varchar(255) NOT NULL, host varchar(16) default NULL, destuser varchar(255) default NULL, PRIMARY KEY (user) );`
	tableProxyDomain = `CREATE TABLE proxy_domain ( domain varchar(255) NOT NULL, host varchar(16) default NULL, PRIMARY KEY (domain) );`
	twoHosts         = `host=sqlhost1 host=sqlhost2 dbname=mail user=dovecot password=hush`
	queryProxy       = `SELECT NULL AS password, host, destuser, 'Y' AS nologin, 'Y' AS nodelay, 'Y' AS proxy, 'Y' AS nopassword FROM proxy WHERE user = '%u'`
	queryDomain      = `SELECT NULL AS password, NULL AS destuser, host, 'Y' AS nologin, 'Y' AS nodelay, 'Y' AS nopassword, 'Y' AS proxy FROM proxy_domain WHERE domain = '%d'`

	function = `CREATE SCHEMA dovecot;
CREATE TABLE dovecot.proxy_domain_mappings (
domain VARCHAR(32) NOT NULL,
mail_server_ip inet NOT NULL,
PRIMARY KEY (domain)
);CREATE TYPE dovecot.mapping_t AS (
password varchar(8),
host varchar(16),
destuser varchar(255),
nologin varchar(1),
nodelay varchar(1),
proxy varchar(1)
);CREATE FUNCTION dovecot.domain_mapping(mail_user varchar(32))
RETURNS SETOF dovecot.mapping_t
AS '
DECLARE
_mapping dovecot.mapping_t;
_destuser varchar;
_realm varchar;
_password varchar;
_nologin varchar;
_nodelay varchar;
_proxy varchar;
_delimiter text;
BEGIN
_delimiter:= ''@'';
_password := NULL;
_nologin := ''Y'';
_nodelay := ''Y'';
_proxy := ''Y'';
SELECT split_part(mail_user,_delimiter,1) INTO _destuser;
SELECT split_part(mail_user,_delimiter,2) INTO _realm;
FOR _mapping IN
SELECT _password, mail_server_ip, _destuser, _nologin, _nodelay, _proxy
FROM dovecot.proxy_domain_mappings
WHERE domain = lower(_realm)
LOOP
RETURN NEXT _mapping;
END LOOP;
END;
' LANGUAGE PLPGSQL;
INSERT INTO dovecot.proxy_domain_mappings VALUES ( 'labo1', '192.168.0.1' );
INSERT INTO dovecot.proxy_domain_mappings VALUES ( 'labo2', '192.168.0.2' );`
	queryFunction = `SELECT * FROM domain_mapping('%u')`
)

// An original is a system whose queries are used unchanged.
type original struct {
	name, driver, schema, dsn, query string
	want                             map[string]account.Fields // by user; nil: unknown
}

func originals() []original {
	flags := func(f account.Fields) account.Fields {
		f["nologin"], f["nodelay"], f["proxy"], f["nopassword"] = "Y", "Y", "Y", "Y"
		return f
	}
	john := "INSERT INTO proxy VALUES ('john', '192.168.0.1', NULL), ('joe', '192.168.0.2', 'joe@domain.net')"
	people := map[string]account.Fields{"john": flags(account.Fields{"host": "192.168.0.1"}), "joe": flags(account.Fields{"host": "192.168.0.2", "destuser": "joe@domain.net"}), "jim": nil}
	domains := "INSERT INTO proxy_domain VALUES ('domain1.com', '192.168.0.1'), ('domain2.com', '192.168.0.2')"
	anybody := map[string]account.Fields{"x@domain1.com": flags(account.Fields{"host": "192.168.0.1"}), "y@domain2.com": flags(account.Fields{"host": "192.168.0.2"}), "z@domain3.com": nil, "domain1.com": nil}
	mapped := func(host string) account.Fields {
		return account.Fields{"host": host, "destuser": "someuser", "nologin": "Y", "nodelay": "Y", "proxy": "Y"}
	}
	courier := "CREATE TABLE passwd (id char(128) PRIMARY KEY, crypt char(128), mailhost char(64), disableimap char(1)); INSERT INTO passwd VALUES ('ann', 'x', 'servera.example.com', '1'), ('bob', 'x', NULL, '0')"
	return []original{
		{"P003-10 and 12 to 15, a table of users", "mysql sqlite", tableProxy + john, "", queryProxy, people},
		{"P003-10 in PostgreSQL, where user is a keyword", "postgres", strings.NewReplacer(" user ", ` "user" `, "(user)", `("user")`).Replace(tableProxy) + john, "", strings.ReplaceAll(queryProxy, "WHERE user", `WHERE "user"`), people},
		{"P003-16, a table of domains", "mysql sqlite postgres", tableProxyDomain + domains, "", queryDomain, anybody},
		{"P003-17, a function", "postgres", function, " search_path=dovecot", queryFunction, map[string]account.Fields{
			"someuser@labo1": mapped("192.168.0.1"), "someuser@LABO2": mapped("192.168.0.2"), "someuser@unknownlabo": nil, "labo1": nil,
		}},
		{"P000-7, MYSQL_AUXOPTIONS", "mysql", courier, "", `SELECT crypt AS pass_hash, CONCAT("mailhost=",mailhost) AS options FROM passwd WHERE id = '%u'`, map[string]account.Fields{
			"ann": {"pass_hash": "x", "options": "mailhost=servera.example.com"}, "bob": {"pass_hash": "x"},
		}},
		{"P000-9, MYSQL_AUXOPTIONS after others", "mysql", courier, "", `SELECT CONCAT("disableimap=",disableimap,",mailhost=",mailhost) AS options FROM passwd WHERE id = "%u"`, map[string]account.Fields{
			"ann": {"options": "disableimap=1,mailhost=servera.example.com"},
		}},
		{"P000-8, PGSQL_AUXOPTIONS", "postgres sqlite", courier, "", `SELECT crypt AS pass_hash, 'mailhost=' || mailhost AS options FROM passwd WHERE id = '%u'`, map[string]account.Fields{
			"ann": {"pass_hash": "x", "options": "mailhost=servera.example.com"}, "bob": {"pass_hash": "x"},
		}},
		{"P000-9, PGSQL_AUXOPTIONS after others", "postgres sqlite", courier, "", `SELECT 'disableimap=' || disableimap || ',mailhost=' || trim(mailhost) AS options FROM passwd WHERE id = '%u'`, map[string]account.Fields{
			"ann": {"options": "disableimap=1,mailhost=servera.example.com"},
		}},
	}
}

func originalsWorkUnchanged(t *testing.T, d *database) {
	for _, o := range originals() {
		if !strings.Contains(o.driver, d.driver) {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			own := d.database(t)
			own.exec(t, o.schema)
			s := own.open(t, settings{DSN: own.dsn() + o.dsn, Lookup: mustParse(t, o.query)})
			for user, want := range o.want {
				rec, err := s.Ask(t.Context(), account.Query{Name: user})
				if want == nil && !errors.Is(err, account.ErrUnknown) {
					t.Errorf("%s: %v, %v; want it to be unknown", user, rec, err)
				}
				if rec.Fields["host"] != "" {
					rec.Fields["host"] = strings.TrimSuffix(rec.Fields["host"], "/32") // the reader cuts it off
				}
				if diff := cmp.Diff(want, rec.Fields); diff != "" {
					t.Errorf("%s: %v\n%s", user, err, diff)
				}
			}
		})
	}
}

// P003-12: connect = host=sqlhost1 host=sqlhost2 …
func TestTwoHostsInDovecotsForm(t *testing.T) {
	for driver, want := range map[string]string{"mysql": "sqlhost1:3306 sqlhost2:3306", "postgres": "sqlhost1:5432 sqlhost2:5432"} {
		p, err := newPlan(settings{Driver: driver, DSN: twoHosts, Lookup: mustParse(t, queryProxy), Pool: 1})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.servers {
			got = append(got, s.name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", driver, got, want)
		}
	}
}
