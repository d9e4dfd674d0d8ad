package sql

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/mariadb"
	"usher/internal/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A real is a database system that runs, or SQLite.
type real struct {
	driver  string
	dialect *dialect
	server  runs // nil: SQLite
	ca      string
	another func(testing.TB) runs // starts one more server
}

// What runs can be stopped, and more.
type runs interface {
	Exec(t testing.TB, database, sql string)
	Value(t testing.TB, database, sql string) string
	DSN(database string) string
	Addr() string
	Stop()
	Start(command ...string)
	Freeze()
	Thaw()
}

// TestDatabases holds for every kind of database, each with a server that runs.
func TestDatabases(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		all(t, real{driver: "sqlite", dialect: sqLite})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		s := postgres.Start(t)
		all(t, real{"postgres", postgreSQL, s, s.CA, func(t testing.TB) runs { return postgres.Start(t) }})
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		s := mariadb.Start(t)
		all(t, real{"mysql", mySQL, s, s.CA, func(t testing.TB) runs { return mariadb.Start(t) }})
	})
}

func all(t *testing.T, r real) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *database)
	}{
		{"conformance", conformance},
		{"hostile names find nobody", hostileNamesFindNobody},
		{"what is asked is traced", whatIsAskedIsTraced},
		{"every type is text", everyTypeIsText},
		{"a row that cannot be right is no account", aRowThatCannotBeRightIsNoAccount},
		{"quotes mean what they mean", quotesMeanWhatTheyMean},
		{"originals work unchanged", originalsWorkUnchanged},
		{"behind a PgBouncer", behindAPgBouncer},
		{"procedures and functions are asked", proceduresAndFunctionsAreAsked},
		{"dead connections are replaced", deadConnectionsAreReplaced},
		{"a storm stays within the pool", aStormStaysWithinThePool},
		{"a server may come later", aServerMayComeLater},
		{"a changed table heals by itself", aChangedTableHealsByItself},
		{"a table that is locked holds nobody for long", aTableThatIsLockedHoldsNobodyForLong},
		{"who gives up is let go", whoGivesUpIsLetGo},
		{"an odd name leaves the server well", anOddNameLeavesTheServerWell},
		{"an endless value is refused", anEndlessValueIsRefused},
		{"certificates are verified", certificatesAreVerified},
		{"the next server answers", theNextServerAnswers},
		{"what is wrong is said in words", whatIsWrongIsSaidInWords},
		{"accounts are listed", accountsAreListed},
		{"a long list streams", aLongListStreams},
		{"accounts are changed", accountsAreChanged},
		{"what cannot be changed stays", whatCannotBeChangedStays},
		{"a name may be two columns", aNameMayBeTwoColumns},
		{"an import is all or nothing", anImportIsAllOrNothing},
		{"a change between is reported", aChangeBetweenIsReported},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, r.database(t)) })
	}
}

// A database is one of its own for one test.
type database struct {
	real
	name string // or the path of the file
}

func (r real) database(t *testing.T) *database {
	t.Helper()
	if r.server == nil {
		d := &database{r, filepath.Join(t.TempDir(), "mail.db")}
		d.exec(t, "CREATE TABLE made (x)") // a file of its own
		return d
	}
	name := fmt.Sprintf("db%d", rand.Uint32())
	admin := map[string]string{"postgres": "postgres", "mysql": ""}[r.driver]
	r.server.Exec(t, admin, "CREATE DATABASE "+name)
	return &database{r, name}
}

// exec runs statements as an administrator.
func (d *database) exec(t testing.TB, text string) {
	t.Helper()
	if d.server != nil {
		d.server.Exec(t, d.name, text)
		return
	}
	db, err := sql.Open("sqlite", d.name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatalf("%.80s: %v", text, err)
	}
}

func (d *database) dsn() string {
	if d.server == nil {
		return d.name
	}
	return d.server.DSN(d.name)
}

// admin is a database whose user may do everything.
func (d *database) admin(t testing.TB) *sql.DB {
	t.Helper()
	driver, dsn := d.driver, d.dsn()
	p, err := newPlan(settings{Driver: driver, DSN: dsn, Lookup: mustParse(t, "SELECT {user}"), Pool: 4, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	db := p.pool(p.servers[0].patient)
	t.Cleanup(func() { db.Close() })
	return db
}

// source opens a source on the database.
func (d *database) source(t testing.TB, lookup string) *Source {
	t.Helper()
	return d.open(t, settings{Lookup: mustParse(t, lookup)})
}

func (d *database) open(t testing.TB, s settings) *Source {
	t.Helper()
	if s.DSN == "" {
		s.DSN = d.dsn()
	}
	s.Driver = d.driver
	return open(t, s)
}

func open(t testing.TB, s settings) *Source {
	t.Helper()
	if s.Pool == 0 {
		s.Pool = 8
	}
	if s.Timeout == 0 {
		s.Timeout = timeout
	}
	p, err := newPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	src, err := p.open(context.Background(), account.Site{State: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.(*Source).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return src.(*Source)
}

func fields(t testing.TB, s *Source, user string) account.Fields {
	t.Helper()
	rec, err := s.Ask(t.Context(), account.Query{Name: user})
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return rec.Fields
}

func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one with: %s", err, want)
	}
}

const timeout = 5 * time.Second
