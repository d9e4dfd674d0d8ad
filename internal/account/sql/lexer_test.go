package sql

import (
	"slices"
	"strings"
	"testing"

	"usher/internal/account"
)

// The query of the tests.
var asked = account.Query{Name: "ann@example.org", Protocol: "imap"}

func mustParse(t testing.TB, text string) account.Template {
	t.Helper()
	tmpl, err := account.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// written is how the text of a statement is shown in the tests: every place is a ¿.
func written(d *dialect, s statement) string {
	text := s.text
	for i := range s.values {
		text = strings.Replace(text, d.place(i+1), "¿", 1)
	}
	return text
}

const (
	pg   = "postgres"
	my   = "mysql"
	lite = "sqlite"
)

func TestVariablesBecomePlaces(t *testing.T) {
	for _, c := range []struct {
		dialects, in, text string // text "": that is an error
		args               string
	}{
		{"all", "SELECT * FROM t WHERE u = {user}", "SELECT * FROM t WHERE u = ¿", "ann@example.org"},
		{"all", "u='%u' AND p=%s;", "u=¿ AND p=¿;", "ann@example.org|imap"},
		{"all", "f('%n@%d', %{name})", "f(¿, ¿)", "ann@example.org|ann"},
		{"all", "LIKE'%%%n%%'AS x", "LIKE ¿ AS x", "%ann%"},
		{"all", "f('%Un', 'x')", "f(¿, 'x')", "ANN"},
		{"all", "'it''s %n', 'it''s'", "¿, 'it''s'", "it's ann"},
		{"all", "n'%n', 'x' || '{{}'", "¿, 'x' || '{}'", "ann"},
		{"all", "''%n", "''¿", "ann"},
		{"all", "'a%n'1", "¿ 1", "aann"},
		{"all", "'%n' no'%n'", "¿ no ¿", "ann|ann"},

		// Double quotes make a text in MySQL, and a name elsewhere; so do backticks and brackets.
		{my, `"%n""x"`, "¿", `ann"x`},
		{my, `CONCAT("mailhost=",mailhost), '%n'`, `CONCAT("mailhost=",mailhost), ¿`, "ann"},
		{pg + lite, `"%n"`, "", ""},
		{"all", `"a""b", %n`, `"a""b", ¿`, "ann"},
		{my + lite, "`%n`", "", ""},
		{my + lite, "`a``'`, %n", "`a``'`, ¿", "ann"},
		{lite, "[%n]", "", ""},
		{lite, "[a'], %n", "[a'], ¿", "ann"},
		{pg, "a[%n]", "a[¿]", "ann"},

		// Backslashes escape in MySQL and in PostgreSQL's E'…'.
		{my, `'a\'%n', '\\%n'`, "¿, ¿", `a'ann|\ann`},
		{my, `'\n\%%\_\q\0%n'`, "¿", "\n\\%\\_q\x00ann"},
		{pg + lite, `'a\\%n'`, "¿", `a\\ann`},
		{pg + lite, `'a\'%n`, `'a\'¿`, "ann"},
		{pg, `E'a\'\n\x41\xq\101\1%n\u00e9\U0001F600'`, "¿", "a'\nAxqA\x01anné😀"},
		{pg, `e'\xff%n'`, "", ""},
		{pg, `E'\u00g9%n'`, "", ""},
		{my, `'\%n'`, "", ""},
		{pg, `E'\%n'`, "", ""},
		{pg, `E'a\' E`, "", ""},

		// Prefixes of texts.
		{"all", "x'%n'", "", ""},
		{"all", "B'%n'", "", ""},
		{"all", "x'00', '%n'", "x'00', ¿", "ann"},
		{my, "_latin1'%n'", "", ""},
		{my, "_latin1'x', '%n'", "_latin1'x', ¿", "ann"},
		{pg, "U&'%n'", "", ""},
		{pg, `U&'\0041', U&"a", '%n'`, `U&'\0041', U&"a", ¿`, "ann"},

		// PostgreSQL's dollars.
		{pg, "$$it's %n$$", "¿", "it's ann"},
		{pg, "$f$ a $$ %n $f$ %n", "¿ ¿", " a $$ ann |ann"},
		{pg, "$f$ 'x $f$, %n", "$f$ 'x $f$, ¿", "ann"},
		{pg, "a$f$%n", "", ""},
		{pg, "$a$%n$b$", "", ""},
		{pg, "'x'::text = {remote}::inet", "'x'::text = ¿::inet", ""},

		// Comments.
		{"all", "-- it's %u\n%n", "-- it's {user}\n¿", "ann"},
		{"all", "%n -- x", "¿ -- x", "ann"},
		{my, "# it's %u\n%n", "# it's {user}\n¿", "ann"},
		{my, "1--1, '%n'", "1--1, ¿", "ann"},
		{my, "1--%n", "1--¿", "ann"},
		{pg + lite, "1--%n", "1--{name}", ""},
		{"all", "/* it's %u */ %n", "/* it's {user} */ ¿", "ann"},
		{pg, "/* /* */ %u */ %n", "/* /* */ {user} */ ¿", "ann"},
		{my + lite, "/* /* */ %u", "/* /* */ ¿", "ann@example.org"},
		{my, "/*!50100 '%n' */", "", ""},
		{my, "/*M! x */ '%n'", "/*M! x */ ¿", "ann"},
		{"all", "/*/ %n", "", ""},
		{"all", "/*", "", ""},

		// What has no end, and what would grow together with its neighbour.
		{"all", "'%n", "", ""},
		{"all", `"x`, "", ""},
		{"all", "{name}{domain}", "", ""},
		{"all", "%n@%d", "", ""},
		{"all", "{name}1", "", ""},
		{"all", "t_%n", "", ""},
		{"all", "s.%n", "", ""},

		// Places that are not ours.
		{my + lite, "u = ?", "", ""},
		{pg, "a ? '%n'", "a ? ¿", "ann"},
		{pg, "u = $1", "", ""},
		{lite, "u = :u", "", ""},
		{lite, "u = @u", "", ""},
		{my, "@@version, @x := '%n'", "@@version, @x := ¿", "ann"},
	} {
		for _, d := range []*dialect{postgreSQL, mySQL, sqLite} {
			if c.dialects != "all" && !strings.Contains(c.dialects, d.name) {
				continue
			}
			s, err := compile(d, mustParse(t, c.in))
			if err != nil && c.text == "" {
				continue
			}
			if args := joined(s.args(asked)); err != nil || written(d, s) != c.text || args != c.args {
				t.Errorf("%s: %q is\n%q with %q (%v), not\n%q with %q", d.name, c.in, written(d, s), args, err, c.text, c.args)
			}
		}
	}
}

// Whatever the query looks like, what a client says is never in the text.
func FuzzNothingIsEverPasted(f *testing.F) {
	for _, seed := range []string{
		"SELECT * FROM t WHERE u = {user} AND d = '%d'", `E'\'%n' "%n" $a$ %n $a$`, "/* %u */ -- %u\n# %u\n`x`[%n]", `'\\%n''%d'`, "x'%n' _latin1'%n'", "/*!1 %u */",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := account.ParseTemplate(text)
		if err != nil {
			return
		}
		for _, d := range []*dialect{postgreSQL, mySQL, sqLite} {
			s, err := compile(d, tmpl)
			if err != nil {
				continue
			}
			check(t, d, tmpl, s)
		}
	})
}

func check(t *testing.T, d *dialect, tmpl account.Template, s statement) {
	if strings.Contains(s.text, mark) {
		t.Errorf("%s: %q became %q", d.name, tmpl, s.text)
	}
	for i := range s.values {
		if !strings.Contains(s.text, d.place(i+1)) {
			t.Errorf("%s: %q became %q, without the place %d", d.name, tmpl, s.text, i+1)
		}
	}
	for _, v := range s.values {
		if !slices.ContainsFunc(v, func(p account.Part) bool { return p.Variable != "" }) {
			t.Errorf("%s: %q: the value %q has no variable", d.name, tmpl, v)
		}
	}
	plain := *d // has a number where a value would be
	plain.place = func(int) string { return "0" }
	first, err := compile(&plain, tmpl)
	if err != nil {
		t.Fatal(err)
	}
	again, err := compile(d, account.Template{{Text: first.text}})
	if err != nil || len(again.values) > 0 || again.text != first.text {
		t.Errorf("%s: %q became %q, which is read as %q (%v)", d.name, tmpl, first.text, again.text, err)
	}
}

func joined(args []any) string {
	var list []string
	for _, a := range args {
		list = append(list, a.(string))
	}
	return strings.Join(list, "|")
}
