package ldap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/account/accounttest"
	"usher/internal/config"
	"usher/internal/slapd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const people = "ou=people,dc=example,dc=org"

// organisation has people, and an entry for the service.
const organisation = `dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: cn=usher,dc=example,dc=org
objectClass: person
cn: usher
sn: usher
userPassword: the service's

`

// person is an entry with further lines.
func person(uid string, more ...string) string {
	return fmt.Sprintf("dn: uid=%[1]s,%[2]s\nobjectClass: inetOrgPerson\nobjectClass: mailUser\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nmail: %[1]s@example.org\n%[3]s\n\n",
		uid, people, strings.Join(more, "\n"))
}

// everybody is ann and bob.
var everybody = organisation + person("ann", "userPassword: secret", "mailhost: imap1") + person("bob", "userPassword: bob's", "mailhost: imap2")

func start(t *testing.T, ldif string) *slapd.Server {
	t.Helper()
	return slapd.Start(t, slapd.Options{LDIF: ldif})
}

// settle reads the keys of a block as a configuration has them.
func settle(keys string) (account.Open, error) {
	c, err := config.Parse("/etc/usher/usher.toml", []byte("[[accounts]]\ntype = 'ldap'\n"+keys), func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	return Driver(c.Accounts[0].Decode)
}

// source opens what a block says.
func source(t *testing.T, format string, args ...any) *Source {
	t.Helper()
	open, err := settle(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), account.Site{State: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.(*Source).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s.(*Source)
}

// lookup asks as the server does.
func lookup(t *testing.T, s account.Source, name string) (*account.Account, error) {
	t.Helper()
	return (&account.Reader{Name: "ldap", Source: s}).Lookup(t.Context(), account.Query{Name: name, Protocol: "imap"})
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one with: %s", err, want)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for mode, keys := range map[string]string{
		"hash":          "base = '" + people + "'",
		"bind":          "base = '" + people + "'\nbind = true",
		"bind template": "bind_template = 'uid={name},ou=people,dc=example,dc=org'\nfilter = '(mail={user})'",
		"base varies":   "base = 'uid={name},ou=people,dc=example,dc=org'\nscope = 'base'",
		"with a name":   "base = '" + people + "'\nbind_dn = 'cn=usher,dc=example,dc=org'\npassword = \"the service's\"",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d := start(t, everybody)
			accounttest.RunSource(t, source(t, "url = 'ldap://%s'\n%s", d.Addr, keys), accounttest.World{
				User: "ann@example.org", Password: "secret", Unknown: "nobody@example.org",
				Freeze: func(*testing.T) func() { d.Freeze(); return d.Thaw },
				Stop:   func(*testing.T) func() { d.Stop(); return d.Restart },
			})
		})
	}
}

// accepted is how many connections a server has had.
func accepted(d *slapd.Server) int { return strings.Count(d.LogText(), " ACCEPT ") }

func TestManyAtOnceAreNotMixedUp(t *testing.T) {
	t.Parallel()
	var ldif strings.Builder
	ldif.WriteString(organisation)
	for i := range 50 {
		ldif.WriteString(person(fmt.Sprintf("u%d", i), fmt.Sprintf("userPassword: secret%d", i), fmt.Sprintf("mailhost: imap%d", i)))
	}
	d := start(t, ldif.String())
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nbind = true\ntimeout = '60s'", d.Addr, people)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			i := n % 50
			a, err := lookup(t, s, fmt.Sprintf("u%d@example.org", i))
			if err != nil {
				t.Error(err)
				return
			}
			if want := fmt.Sprintf("imap%d", i); a.Place.Hosts[0] != want {
				t.Errorf("u%d is on %v, want %s", i, a.Place.Hosts, want)
			}
			if err := a.Proof.Check(t.Context(), fmt.Sprintf("secret%d", i)); err != nil {
				t.Errorf("u%d: %v", i, err)
			}
			if err := a.Proof.Check(t.Context(), fmt.Sprintf("secret%d", i+1)); !errors.Is(err, account.ErrRefused) {
				t.Errorf("u%d with the password of another: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := accepted(d); n > 2*8+3 { // three saw it start
		t.Errorf("%d connections for two pools of 8", n)
	}
}

// The trace is what "usher explain" shows.
func TestAnAdministratorSeesTheSearchAsItWasSent(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nscope = 'one'\nfilter = 'mail={user}'\nmap = { host = 'mailhost' }", d.Addr, people)
	trace := &account.Trace{}
	if _, err := (&account.Reader{Source: s}).Lookup(t.Context(), account.Query{Name: "a*n", Trace: trace}); !errors.Is(err, account.ErrUnknown) {
		t.Fatal(err)
	}
	want := account.Question{Server: "ldap://" + d.Addr, Text: people + ` one (mail=a\2an) mailhost,userPassword`}
	if got := trace.Steps[0].Asked; len(got) != 1 || got[0] != want {
		t.Errorf("asked %+v, want %+v", got, want)
	}
}

func TestUsesAreThoseOfTheTemplates(t *testing.T) {
	t.Parallel()
	s := source(t, "url = 'ldap://localhost'\nbase = 'o={server_name}'\nfilter = '(&(mail={user})(service={protocol}))'")
	if got, want := s.Uses(), account.UsesProtocol|account.UsesServerName; got != want {
		t.Errorf("uses %b, want %b", got, want)
	}
}

func TestClearTextIsNoted(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"url = 'ldap://localhost ldap://127.0.0.1 ldap://[::1] ldapi:/// ldaps://ldap.example.org'\nbind = true": "",
		"url = 'ldap://ldap.example.org'\nstarttls = true\nbind = true":                                          "",
		"url = 'ldap://ldap.example.org'":                                         "what the directory knows of a password is sent in clear",
		"url = 'ldap://ldap.example.org'\nbind = true":                            "the passwords of the users are sent in clear",
		"url = 'ldap://ldap.example.org'\nbind_dn = 'cn=x'\npassword = 'hunter2'": "the password of bind_dn is sent in clear",
	} {
		notes := strings.Join(source(t, "base = 'o=x'\n%s", keys).Notes(), "; ")
		if (notes == "") != (want == "") || !strings.Contains(notes, want) || strings.Contains(notes, "hunter2") {
			t.Errorf("%s: notes %q, want %q", keys, notes, want)
		}
	}
}

func TestKeysThatDoNotGoTogether(t *testing.T) {
	t.Parallel()
	const url = "url = 'ldap://a'\nbase = 'o=x'\n"
	for keys, want := range map[string]string{
		"":                                  "url: is missing",
		"url = 'ldap://a'":                  "base is missing",
		"url = []\nbase = 'o=x'":            "url has no server",
		url + "bind_dn = 'cn=x'":            "bind_dn and password (or password_file) go together",
		url + "password = 'hunter2'":        "bind_dn and password (or password_file) go together",
		url + "ca = 'x'":                    "ca, cert and key are for TLS",
		url + "starttls = true\ncert = 'x'": "cert and key go together",
		url + "sasl = 'external'":           "needs cert and key, or ldapi://",
		url + "sasl = 'gssapi'":             `"gssapi" is none of external`,
		url + "map = { password = 'x' }\nbind = true":                    "leave one of the two out",
		url + "bind_template = 'uid={name},o=x'\nmap = { PASSWD = 'x' }": "leave one of the two out",
		url + "scope = 'tree'":                                           `"tree" is none of sub, one, base`,
		url + "filter = '(mail={user}'":                                  "is no filter",
		url + "filter = ''":                                              "is no filter",
		url + "filter = '(mail={usr})'":                                  "{usr} is no variable",
		url + "filter = '({name}=x)'":                                    "a variable may stand behind = only",
		url + "filter = '(|(a=b)({name}=x))'":                            "a variable may stand behind = only",
		url + "filter = '(cn:{name}:=x)'":                                "a variable may stand behind = only",
		url + "bind_template = '{name}=x,o=y'":                           "a variable may stand behind = only",
		url + "bind_template = 'uid=x\\,,{name}=x,o=y'":                  "a variable may stand behind = only",
		url + "bind_template = '{user}'":                                 "is no DN",
		url + "map = { host = 'mail host' }":                             `"mail host" cannot be the name of an attribute`,
		url + "referrals = true":                                         "unknown key",
		"url = 'ldaps://a'\nbase = 'o=x'\nstarttls = true":               "starttls is for ldap://",
		"url = 'ldapi:///'\nbase = 'o=x'\nsasl = 'external'\nbind_dn='x'\npassword='hunter2'": "leave out bind_dn and password",
		"url = 'ldap://a'\nbase = 'people'":                                                   `"people" is no DN`,
		"url = 5\nbase = 'o=x'":                                                               "not a list",
	} {
		_, err := settle(keys)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v; want: %s", keys, err, want)
		}
	}
}

func TestFilesMustBeThereAndRight(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"ca = '/nowhere/ca.pem'":                          "ca: open /nowhere/ca.pem: no such file",
		"ca = '/etc/passwd'":                              `ca: there is no certificate (PEM) in "/etc/passwd"`,
		"cert = '/nowhere/c.pem'\nkey = '/nowhere/k.pem'": "cert and key: open /nowhere/c.pem: no such file",
	} {
		open, err := settle("url = 'ldaps://a'\nbase = 'o=x'\n" + keys)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(t.Context(), account.Site{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want: %s", keys, err, want)
		}
	}
}

// A name may be anybody's in a filter and nobody's in a DN.
func TestANameWithoutADomainIsNobodyWhereADomainIsWanted(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = 'ou={domain},dc=example,dc=org'", d.Addr)
	for _, name := range []string{"ann", "ann@nowhere", "ann@x,dc=y"} {
		if _, err := lookup(t, s, name); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ask is a question that gives up in time.
func ask(t *testing.T, s *Source, name string) (account.Record, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return s.Ask(ctx, account.Query{Name: name})
}
