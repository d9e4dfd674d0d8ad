package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/dovecot"
)

func TestMaster(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{Master: map[string]string{"boss": "boss' secret"}})
	password := filepath.Join(t.TempDir(), "master")
	write(t, password, "boss' secret\n")
	for _, mechanism := range []string{"", `, mechanism = "PLAIN"`} {
		t.Run("with"+mechanism, func(t *testing.T) {
			p := start(t, setup{
				config:   quick + store("east", s, "starttls", `login = { as = "master", name = "boss", password_file = "`+password+`"`+mechanism+` }`),
				accounts: []account{checked(ann, "another secret than the store's", "east"), checked(bob, bobSecret, "east"), unchecked("nobody", "east")},
			})
			for _, protocol := range protocols {
				tryMaster(t, p, protocol)
			}
		})
	}
}

func tryMaster(t *testing.T, p *proxy, protocol string) {
	t.Helper()
	p.visit(t, protocol, ann, "another secret than the store's", "east")
	p.visit(t, protocol, bob, bobSecret, "east")
	for _, x := range []struct{ who, user, password, answer string }{
		{"the store's password, which usher does not know", ann, annSecret, denied[protocol]},
		{"the master's password", ann, "boss' secret", denied[protocol]},
		{"the master as a user", "boss", "boss' secret", denied[protocol]},
		{"somebody whose password nobody checks", "nobody", "any secret", misconfigured[protocol]},
	} {
		if answer := p.client(t, protocol, "implicit").login(x.user, x.password); answer != x.answer {
			t.Errorf("%s %s: got %q, want %q", protocol, x.who, answer, x.answer)
		}
	}
}

// What clients hear.
var (
	denied = map[string]string{
		"imap": "a NO [AUTHENTICATIONFAILED] Authentication failed.",
		"pop3": "-ERR [AUTH] Authentication failed.",
	}
	unavailable = map[string]string{
		"imap": "a NO [UNAVAILABLE] Account is temporarily unavailable.",
		"pop3": "-ERR [SYS/TEMP] Account is temporarily unavailable.",
	}
	misconfigured = map[string]string{
		"imap": "a NO [SERVERBUG] This account cannot be served, please tell the administrator.",
		"pop3": "-ERR [SYS/PERM] This account cannot be served, please tell the administrator.",
	}
)

func TestSecondTry(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	for _, protocol := range protocols {
		for _, security := range securities {
			t.Run(protocol+" with TLS "+security, func(t *testing.T) {
				c := p.client(t, protocol, security)
				for _, user := range []string{ann, "nobody", bob} { // asked: usher, nobody, west
					if answer := c.login(user, "wrong secret"); answer != denied[protocol] {
						t.Fatalf("%s: %s", user, answer)
					}
				}
				c.enter(bob, bobSecret)
				c.finds(bob, "west")
			})
		}
	}
}

func TestWrongPasswordsLookTheSame(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	anyone := start(t, setup{config: quick + config + "[[accounts]]\ntype = \"any\"\n\n[[route]]\nto = \"west\"\n"})
	for _, x := range []struct {
		who, user string
		p         *proxy
	}{
		{"a wrong password that usher checks", ann, p},
		{"a wrong password that the backend checks", bob, p},
		{"a name that usher does not know", "nobody", p},
		{"a name that the backend does not know", "nobody", anyone},
		{"a wrong password where everybody is let through to the backend", bob, anyone},
	} {
		for _, w := range ways {
			t.Run(x.who+" by "+w.String(), func(t *testing.T) {
				c := x.p.client(t, w.protocol, "implicit")
				if answer := w.login(c, x.user, "wrong secret"); answer != denied[w.protocol] {
					t.Errorf("got %q, want %q", answer, denied[w.protocol])
				}
				if answer := c.ask("%s", noop[w.protocol]); !isOK(answer) {
					t.Errorf("the conversation does not go on: %q", answer)
				}
			})
		}
	}
}

var noop = map[string]string{"imap": "a NOOP", "pop3": "NOOP"}

func TestAccountChange(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	for _, protocol := range protocols {
		p.visit(t, protocol, ann, annSecret, "east")
		p.command("account", "set", ann, "host=west")
		p.visit(t, protocol, ann, annSecret, "west")
		p.command("account", "set", ann, "host=east", "nopassword=Y")
		p.visit(t, protocol, ann, annSecret, "east")
		p.command("account", "set", ann, "nologin=Y")
		if answer := p.client(t, protocol, "implicit").login(ann, annSecret); isOK(answer) || answer == denied[protocol] {
			t.Errorf("an account that is switched off: %s", answer)
		}
		p.command("account", "set", ann, "nologin=", "nopassword=")
		p.visit(t, protocol, ann, annSecret, "east")
	}
	p.command("account", "remove", ann)
	for _, protocol := range protocols {
		if answer := p.client(t, protocol, "implicit").login(ann, annSecret); answer != denied[protocol] {
			t.Errorf("an account that is gone: %s", answer)
		}
	}
}

// What usher account add stores, with its own hash, lets in.
func TestAccountAdd(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config})
	add := usher(t, "account", "add", ann, "host=east", "--password-stdin", "-c", p.file)
	add.Stdin = strings.NewReader(annSecret + "\n")
	output(t, add)
	p.serves(t, ann, annSecret, "east")
	if answer := p.client(t, "imap", "implicit").login(ann, annSecret+" "); answer != denied["imap"] {
		t.Errorf("a wrong password: %s", answer)
	}
}

// The database is one file: whoever fills it must not lock out those who log in.
func TestImportDisturbsNobody(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	var rows strings.Builder
	rows.WriteString("user,nopassword,host\n")
	for i := range 20_000 {
		fmt.Fprintf(&rows, "user%d@example.org,Y,west\n", i)
	}
	file := filepath.Join(t.TempDir(), "many.csv")
	write(t, file, rows.String())
	ended := make(chan error, 1)
	go func() { ended <- usher(t, "account", "import", file, "-c", p.file).Run() }()
	for logins := 0; ; logins++ {
		p.visit(t, protocols[logins%2], ann, annSecret, "east")
		select {
		case err := <-ended:
			if err != nil || logins < 10 {
				t.Errorf("%d logins went on beside the import, which ended with %v", logins, err)
			}
			return
		default:
		}
	}
}

// An open session stays where it is when its account moves.
func TestAccountChangeLeavesSessions(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	c := p.client(t, "imap", "starttls")
	c.enter(ann, annSecret)
	p.command("account", "remove", ann)
	c.finds(ann, "east")
}
