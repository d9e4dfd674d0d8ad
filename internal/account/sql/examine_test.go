package sql

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"usher/internal/account"
)

// examined is what Examine says, in lines; "ok" for what is well.
func examined(t *testing.T, s *Source) string {
	t.Helper()
	var b strings.Builder
	s.Examine(t.Context(), func(what string, err error) {
		if err == nil {
			fmt.Fprintf(&b, "%s: ok\n", what)
			return
		}
		fmt.Fprintf(&b, "%s: %v\n", what, err)
	})
	return b.String()
}

func whatIsWrongIsSaidInWords(t *testing.T, d *database) {
	good := d.store(t)
	where := d.dialect.name + " " + good.servers[0].name
	want := where + ": ok\n" + where + ": list: ok\n" + where + ": write: ok\n"
	if d.dialect == sqLite {
		if err := os.Chmod(d.name, 0o640); err != nil {
			t.Fatal(err)
		}
		want = d.name + ": ok\n" + want
	}
	if got := examined(t, good); got != want {
		t.Errorf("a good source:\n%s, want\n%s", got, want)
	}
	with := func(change func(*settings)) *Source {
		s := good.settings
		change(&s)
		p, err := newPlan(s)
		if err != nil {
			t.Fatal(err)
		}
		src := p.source(account.Site{Log: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { src.Close() })
		return src
	}
	lookup := func(text string) func(*settings) {
		return func(s *settings) { s.Lookup = mustParse(t, text) }
	}
	cases := []struct {
		change func(*settings)
		want   string
	}{
		{lookup("SELECT crypt AS password FROM mailboxes WHERE nom = '%u'"), "check the columns' names"},
		{lookup("SELECT crypt AS password FROM comptes WHERE nom = '%u'"), "check the table's name"},
		{lookup("SELECT mailhost FROM mailboxes WHERE email = '%u'"), "neither password nor nopassword"},
		{lookup("SELECT mailhost, 'Y' AS nopassword FROM mailboxes WHERE email = '%u'"), where + ": ok"},
		{lookup("SELEKT '%u'"), "try the query by hand"},
		{func(s *settings) { s.List = mustParse(t, "SELECT email FROM mailboxes") }, "list: list: no column is named user"},
		{func(s *settings) { s.List = mustParse(t, "SELECT nom FROM mailboxes") }, ": list: the database says"},
		{func(s *settings) { s.Write.Key = "nom" }, ": write: "},
		{func(s *settings) { s.Write.Columns = map[string]string{"host": "hoost"} }, `no column "hoost"`},
	}
	switch d.driver {
	case "postgres":
		cases = append(cases, []struct {
			change func(*settings)
			want   string
		}{
			{lookup("SELECT * FROM nothing('%u') AS password"), "check the function's name"},
			{lookup("SELECT concat('{user}') AS password"), where + ": ok"},
			{func(s *settings) { s.DSN = strings.ReplaceAll(s.DSN, "hush hush", "wrong") }, "check user and password"},
			{func(s *settings) { s.DSN = strings.ReplaceAll(s.DSN, "dbname=", "dbname=no") }, "check dbname"},
			{func(s *settings) { s.Hosts = []string{"127.0.0.1:1"} }, "nobody listens there"},
			{func(s *settings) { s.Hosts = []string{"nobody.invalid"} }, "check the name of the host"},
			{func(s *settings) { s.DSN += " passfile=/no/such/file" }, "/no/such/file: stat /no/such/file: no such file"},
		}...)
	case "mysql":
		cases = append(cases, []struct {
			change func(*settings)
			want   string
		}{
			{lookup("SELECT nothing('%u') AS password"), "check the function's name"},
			{func(s *settings) { s.DSN = strings.ReplaceAll(s.DSN, "hush hush", "wrong") }, "check user and password"},
			{func(s *settings) { s.DSN += "no" }, "check dbname"},
			{func(s *settings) { s.Hosts = []string{"127.0.0.1:1"} }, "nobody listens there"},
			{func(s *settings) { s.Hosts = []string{"nobody.invalid"} }, "check the name of the host"},
		}...)
	}
	for _, c := range cases {
		got := examined(t, with(c.change))
		if !strings.Contains(got, c.want) || strings.Contains(got, "wrong\"") {
			t.Errorf("%s; want one with: %s", got, c.want)
		}
	}
	if d.dialect == sqLite {
		if err := os.Chmod(d.name, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := examined(t, good); !strings.Contains(got, "everybody on this machine can read") {
			t.Errorf("a file that others read:\n%s", got)
		}
	}
}
