package sql

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// driven gives the driver a block.
func driven(s settings) (account.Open, error) {
	embedded := func(context.Context, account.Site) (account.Source, error) { return account.Anyone{}, nil }
	return Driver(embedded)(func(into any) error {
		*into.(*settings) = s
		return nil
	})
}

func TestABlockWithoutDSNIsTheEmbeddedDatabase(t *testing.T) {
	open, err := driven(settings{Driver: "sqlite", Pool: 8, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	if src, err := open(t.Context(), account.Site{}); err != nil || src != (account.Anyone{}) {
		t.Errorf("it opens %T (%v)", src, err)
	}
	bad := errors.New("unknown key")
	if _, err := Driver(nil)(func(any) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("a bad block: %v", err)
	}
}

// Whatever is missing or does not fit is named, and a password never is.
func TestWhatIsMissingIsNamed(t *testing.T) {
	lookup, list := mustParse(t, "SELECT '%u'"), mustParse(t, "SELECT 1")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    settings
		want string
	}{
		{settings{Driver: "sqlite", Hosts: []string{"a"}}, "hosts: the embedded database"},
		{settings{Driver: "sqlite", List: list}, "list: the embedded database"},
		{settings{Driver: "sqlite", Write: write{Key: "x"}}, "write: the embedded database"},
		{settings{Driver: "sqlite", CA: "x"}, "ca: the embedded database"},
		{settings{Driver: "postgres"}, "dsn (or dsn_file) is missing"},
		{settings{Driver: "mysql", Lookup: lookup}, "dsn (or dsn_file) is missing"},
		{settings{Driver: "sqlite", Lookup: lookup}, "dsn (or dsn_file) is missing"},
		{settings{Driver: "sqlite", DSN: "/x"}, "lookup is missing"},
		{settings{Driver: "sqlite", DSN: "/x", Lookup: lookup, Hosts: []string{"a"}}, "hosts: SQLite is a file"},
		{settings{Driver: "sqlite", DSN: "/x", Lookup: lookup, CA: "a"}, "ca: SQLite is a file"},
		{settings{Driver: "sqlite", DSN: "x.db", Lookup: lookup}, "write the whole path"},
		{settings{Driver: "sqlite", DSN: "file:x.db?cache=shared", Lookup: lookup}, "write the whole path"},
		{settings{Driver: "sqlite", DSN: ":memory:", Lookup: lookup}, "write the whole path"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Pool: -1}, "pool: there must be 1"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: list}, "lookup: it has no variable"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: mustParse(t, "SELECT `%u`")}, "lookup: {user} stands in a quoted name"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, List: lookup}, "list: it asks for all accounts"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, List: mustParse(t, "SELECT 'x")}, "list: "},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Write: write{Table: "t"}}, "write.key is missing"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Write: write{Key: "k"}}, "write.table is missing"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Write: write{Table: "t", Key: "k", Columns: map[string]string{"mailhost": "x"}}}, `write.columns: "mailhost": write host`},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Hosts: []string{""}}, "hosts: an empty host"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, Hosts: []string{"a:"}}, "hosts: "},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, CA: ca}, "holds no certificate"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d", Lookup: lookup, CA: "/no/such"}, "no such file"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)", Lookup: lookup}, "dsn: invalid DSN"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d?tls=hush", Lookup: lookup}, "dsn: a parameter in it"},
		{settings{Driver: "mysql", DSN: "u:hush@tcp(h)/d?parseTime=hush", Lookup: lookup}, "dsn: a parameter in it"},
		{settings{Driver: "mysql", DSN: "hush", Lookup: lookup}, "dsn: invalid DSN"},
		{settings{Driver: "mysql", DSN: "host=a password=hush option_file=b", Lookup: lookup}, `dsn: "option_file" is none of`},
		{settings{Driver: "mysql", DSN: "dbname=a password=hush", Lookup: lookup}, "hosts is missing"},
		{settings{Driver: "mysql", DSN: "host=a password='hush", Lookup: lookup}, "dsn: it is not of the form"},
		{settings{Driver: "postgres", DSN: "host=a password='hush", Lookup: lookup}, "dsn: it is not of the form"},
		{settings{Driver: "postgres", DSN: "host=a password=x hush", Lookup: lookup}, "dsn: it is not of the form"},
		{settings{Driver: "postgres", DSN: "host=a password=hush port=x", Lookup: lookup}, "dsn: invalid port"},
		{settings{Driver: "postgres", DSN: "host=a password=hush sslmode=hush", Lookup: lookup}, "dsn: "},
		{settings{Driver: "postgres", DSN: "postgres://u:hush@h:hush/x", Lookup: lookup}, "dsn: invalid port"},
		{settings{Driver: "postgres", DSN: "postgres://u:hush%zz@h/x", Lookup: lookup}, "dsn: "},
		{settings{Driver: "postgres", DSN: "mysql://u:hush@h/x", Lookup: lookup}, "dsn: write it as"},
		{settings{Driver: "postgres", DSN: "host=a password=hush", Lookup: lookup, CA: "/no/such"}, "no such"},
	} {
		if c.s.Pool == 0 {
			c.s.Pool = 8
		}
		c.s.Pool = max(c.s.Pool, 0)
		_, err := driven(c.s)
		wantError(t, err, c.want)
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q", err)
		}
	}
}

func TestServersAreFoundInEveryForm(t *testing.T) {
	for _, c := range []struct {
		driver, dsn string
		hosts       []string
		want        string
	}{
		{"postgres", "host=db1 dbname=mail user=u password='a b\\'c\\\\'", nil, "db1:5432"},
		{"postgres", "host=db1,db2 port=5433 dbname=mail", nil, "db1:5433 db2:5433"},
		{"postgres", "host=db1 host=db2 port=1,2", nil, "db1:1 db2:2"},
		{"postgres", "dbname = mail port = 5433", []string{"db1", "db2:5434", "[2001:db8::1]:5435", "::1"}, "db1:5433 db2:5434 [2001:db8::1]:5435 [::1]:5433"},
		{"postgres", "host=/run/postgresql dbname=mail", nil, "/run/postgresql"},
		{"postgres", "postgres://u:p@db1,db2:5433/mail?sslmode=verify-full", nil, "db1:5432 db2:5433"},
		{"postgres", "postgres://u:p@db1:5433/mail", []string{"db2", "db3"}, "db2:5433 db3:5433"},
		{"postgres", "postgresql://u:p@/mail?application_name=x", []string{"db2:1", "db3"}, "db2:1 db3:5432"},
		{"mysql", "u:p@tcp(db1)/mail", nil, "db1:3306"},
		{"mysql", "u:p@tcp([::1]:3307)/mail?tls=true", nil, "[::1]:3307"},
		{"mysql", "u:p@unix(/run/mysqld/mysqld.sock)/mail", nil, "/run/mysqld/mysqld.sock"},
		{"mysql", "u:p@tcp(db1:3307)/mail", []string{"db2", "db3:3308", "/run/mysqld/mysqld.sock"}, "db2:3307 db3:3308 /run/mysqld/mysqld.sock"},
		{"postgres", "host=db1 dbname=mail user=u password=p maxconns=9", nil, "db1:5432"},
		{"mysql", "host=db1 host=db2 dbname=mail user=u password=p maxconns=9", nil, "db1:3306 db2:3306"},
		{"mysql", "host=/run/mysqld/mysqld.sock dbname=mail user=u password=p", nil, "/run/mysqld/mysqld.sock"},
		{"mysql", "dbname=mail user=u password=p port=3307", []string{"db1"}, "db1:3307"},
		{"sqlite", "/var/mail/mail.db", nil, "/var/mail/mail.db"},
		{"sqlite", "file:/var/mail/a%20b.db?cache=private", nil, "/var/mail/a b.db"},
		{"sqlite", "/var/mail/a?b%#c.db", nil, "/var/mail/a?b%#c.db"},
	} {
		p, err := newPlan(settings{Driver: c.driver, DSN: c.dsn, Hosts: c.hosts, Lookup: mustParse(t, "SELECT '%u'"), Pool: 1})
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		var got []string
		for _, s := range p.servers {
			got = append(got, s.name)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s %s: %s", c.dsn, c.hosts, diff)
		}
	}
}

func TestUsesIsWhatTheLookupAsksFor(t *testing.T) {
	p, err := newPlan(settings{Driver: "sqlite", DSN: "/x", Lookup: mustParse(t, "SELECT '%s', {remote}"), Pool: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := p.source(account.Site{})
	defer s.Close()
	if s.Uses() != account.UsesProtocol|account.UsesRemote || !s.Nearby() {
		t.Errorf("uses %b, nearby %v", s.Uses(), s.Nearby())
	}
}

func FuzzDSN(f *testing.F) {
	for _, seed := range []string{twoHosts, "a='b c' d = e\\ f", "host=[::1]:5 port=1,2", "postgres://u:p@h:1,g/x?a=b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		list, err := parsePairs(dsn)
		if err != nil {
			return
		}
		again, err := parsePairs(joinPairs(list))
		if err != nil || !cmp.Equal(list, again, cmp.AllowUnexported(pair{})) {
			t.Errorf("%q is %v, and then %v (%v)", dsn, list, again, err)
		}
		if hosts, err := hostsOf(nil, list); err == nil {
			for _, h := range hosts {
				_ = h.addr()
			}
		}
	})
}
