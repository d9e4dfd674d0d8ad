package interop

import (
	"fmt"
	"strings"
	"testing"

	"usher/internal/dovecot"
)

// oddNames are names and passwords that some server or client has stumbled
// over. A passwd-file of Dovecot cannot hold a colon in a name; there destuser
// names another.
var oddNames = []struct{ what, user, password string }{
	{"UTF-8", "jürgen@bücher.example", "secret pässwörd ☃ 日本"},
	{"printable ASCII in the name", printable(), "secret"},
	{"printable ASCII in the password", "ascii", "secret" + printable() + ":"},
	{"a colon in the name", "co:lon", "secret:"},
	{"long", strings.Repeat("n", 200), "secret" + strings.Repeat("0123456789", 20)},
	{"blanks at the end", "blanks at the end ", "secret  "},
	{"blanks within", "two  words", " a secret  of  words"},
	{"only blanks around", " around ", " secret "},
	{"quotes", `"quo"ted"`, `"secret"`},
	{"a backslash at the end", `back\slash\`, `\secret\\`},
	{"percent", "%u%%d%s", "%secret%n%"},
	{"braces as of a literal", "{3}", "secret{5+}"},
	{"stars", "*", "secret*"},
	{"an asterisk that would cancel SASL", "star", "*secret"},
	{"like a scheme of a password", "scheme", "{PLAIN}secret"},
	{"NIL", "NIL", "NIL secret"},
	{"equals", "=", "=secret="},
	{"a tabulator in the name", "tab\tulator", "secret"}, // Dovecot takes none in passwords
	{"like SQL", "x' OR '1'='1", "secret' --"},
}

// printable is every printable byte of ASCII but the colon.
func printable() string {
	var b strings.Builder
	for c := byte(0x21); c < 0x7f; c++ {
		if c != ':' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// mailbox is the name that Dovecot knows.
func mailbox(user string) string { return strings.ReplaceAll(user, ":", "colon") }

func TestOddNames(t *testing.T) {
	t.Parallel()
	users := map[string]string{}
	for _, n := range oddNames {
		users[mailbox(n.user)] = n.password
	}
	s := newStore(t, "east", dovecot.Options{Users: users})
	for _, mechanism := range []string{"", "PLAIN", "LOGIN"} {
		for _, provenHere := range []bool{true, false} {
			t.Run(fmt.Sprintf("backend mechanism %q, usher checks %v", mechanism, provenHere), func(t *testing.T) {
				t.Parallel()
				p := start(t, setup{
					config:   quick + store("east", s, "none", fmt.Sprintf("login = { mechanism = %q }", mechanism)) + anybody,
					accounts: oddAccounts(provenHere),
				})
				tryOddNames(t, p)
			})
		}
	}
}

// anybody lets in those whom the database does not know, if the backend does.
const anybody = `
[[accounts]]
type = "sql"

[[accounts]]
type = "any"

[[route]]
to = "east"
`

// oddAccounts leaves out what the database refuses: blanks around a name, and
// control characters.
func oddAccounts(provenHere bool) (list []account) {
	for _, n := range oddNames {
		if strings.TrimSpace(n.user) != n.user || strings.Contains(n.user, "\t") {
			continue
		}
		a := unchecked(n.user, "east")
		if provenHere {
			a = checked(n.user, n.password, "east")
		}
		if mailbox(n.user) != n.user {
			a["destuser"] = mailbox(n.user)
		}
		list = append(list, a)
	}
	return list
}

func tryOddNames(t *testing.T, p *proxy) {
	for _, n := range oddNames {
		for _, w := range ways {
			t.Run(n.what+" by "+w.String(), func(t *testing.T) {
				c := p.client(t, w.protocol, "none")
				if answer := w.login(c, n.user, n.password); !isOK(answer) {
					t.Fatalf("%q with %q: %s", n.user, n.password, answer)
				}
				c.finds(mailbox(n.user), "east")
				_ = c.Close()
			})
		}
	}
}
