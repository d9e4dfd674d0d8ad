package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"usher/internal/courier"
	"usher/internal/dovecot"
)

// The files originals_*_test.go are about systems that people have. What their
// documents say to write, such as queries, tables, rc files and URLs, stands here as
// it stands there, and must lead each login through a running usher to the right one
// of two Dovecots.
//
// P000 is "The Courier IMAP/POP3 proxy", P002 PigeonAir's, P003 Dovecot's "IMAP and POP3
// session proxying", P004 the chapter "POP / IMAP" of Autistici's orange book; the number
// behind is that of a statement of the document.

// residents are those who have mail in the documents: in both stores, so that the
// subject of the first message tells where a login has ended.
var residents = []string{
	"user@example.com", "other@example.com", "third@example.com",
	"john", "joe@domain.net", "x@domain1.com", "y@domain2.com", "someuser",
	"ann@domain.org", "bob@domain.org",
}

// theirSecret is the password of all of them, and theirHash what databases have of it.
const (
	theirSecret = "their secret"
	theirHash   = "$6$usher$KNWbFdArr7bGt2gC9R961GD42hpDgSDs7PGz/UeUv3N.6diTI02e6H8Jwt6tj1OQztaFmOKL9wK2YNlPtlhk//"
)

// twoServers are the first and the second server of a document.
func twoServers(t *testing.T) (servers [2]*dovecot.Server) {
	users := map[string]string{}
	for _, user := range residents {
		users[user] = theirSecret
	}
	for i, name := range []string{"first", "second"} {
		servers[i] = newStore(t, name, dovecot.Options{Users: users})
	}
	return servers
}

// called are the two servers under the names of a document: hosts that are a backend's
// name need not resolve.
func called(servers [2]*dovecot.Server, first, second string) string {
	return quick + store(strconv.Quote(first), servers[0], "none") + store(strconv.Quote(second), servers[1], "none")
}

// example is what a file of doc/examples says of accounts, with some texts changed.
func example(t *testing.T, name string, changes ...string) string {
	t.Helper()
	_, block, _ := strings.Cut(read(t, "../doc/examples/"+name), "\n[[accounts]]\n")
	block, _, _ = strings.Cut(block, "\n[backend.")
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(block, changes[i]) {
			t.Fatalf("%s does not say %s", name, changes[i])
		}
	}
	return "[[accounts]]\n" + strings.NewReplacer(changes...).Replace(block)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// leads fails the test unless each login comes out at a first message with this
// subject, for both protocols. "" is a login that must be denied.
func (p *proxy) leads(t *testing.T, want map[string]string) {
	t.Helper()
	for user, subject := range want {
		for _, protocol := range protocols {
			if got := p.ends(t, protocol, user, theirSecret); got != subject {
				t.Errorf("%s by %s ends at %q, want %q", user, protocol, got, subject)
			}
		}
	}
}

// leadsByIMAP is leads for a user with the option disablepop3.
func (p *proxy) leadsByIMAP(t *testing.T, user, subject string) {
	t.Helper()
	for protocol, want := range map[string]string{"imap": subject, "pop3": "-ERR [AUTH] This account may not use POP3."} {
		if got := p.ends(t, protocol, user, theirSecret); got != want {
			t.Errorf("%s by %s ends at %q, want %q", user, protocol, got, want)
		}
	}
}

// ends is where a login ends: the subject of the first message, "" if it is denied, or
// what it hears instead.
func (p *proxy) ends(t *testing.T, protocol, user, password string) string {
	t.Helper()
	c := p.client(t, protocol, "implicit")
	defer c.Close()
	switch answer := c.login(user, password); {
	case isOK(answer):
		return c.subject()
	case answer == denied[protocol]:
		return ""
	default:
		return answer
	}
}

// denies fails the test if a wrong password gets in.
func (p *proxy) denies(t *testing.T, users ...string) {
	t.Helper()
	for _, user := range users {
		for _, protocol := range protocols {
			if got := p.ends(t, protocol, user, "a wrong secret"); got != "" {
				t.Errorf("%s by %s with a wrong password: %q", user, protocol, got)
			}
		}
	}
}

// courierTable is that of Courier's README.authmysql, with the column mailhost of P000,
// and one for an option that was there before.
const courierTable = `CREATE TABLE passwd (
	id              char(128) DEFAULT '' NOT NULL,
	crypt           char(128) DEFAULT '' NOT NULL,
	clear           char(128) DEFAULT '' NOT NULL,
	name            char(128) DEFAULT '' NOT NULL,
	uid             int DEFAULT 65534 NOT NULL,
	gid             int DEFAULT 65534 NOT NULL,
	home            char(255) DEFAULT '' NOT NULL,
	maildir         char(255) DEFAULT '' NOT NULL,
	defaultdelivery char(255) DEFAULT '' NOT NULL,
	quota           char(255) DEFAULT '' NOT NULL,
	disablepop3     char(1) DEFAULT '0' NOT NULL,
	mailhost        char(64),
	PRIMARY KEY (id)
);
INSERT INTO passwd (id, crypt, home, disablepop3, mailhost) VALUES
	('user@example.com', '` + theirHash + `', '/home/user', '0', 'servera.example.com'),
	('other@example.com', '` + theirHash + `', '/home/other', '0', 'serverb.example.com'),
	('third@example.com', '` + theirHash + `', '/home/third', '1', 'serverb.example.com');`

// An auxoptions is a database as P000 has it.
type auxoptions struct {
	driver, dsn        string
	module, rcFile, rc string // rc is all but the value of …_AUXOPTIONS_FIELD, which comes last
}

// lead tries an expression for options. third tells whether disablepop3 is among them.
func (a auxoptions) lead(t *testing.T, servers [2]*dovecot.Server, options string, third bool) {
	try := func(t *testing.T, source string) {
		p := start(t, setup{config: called(servers, "servera.example.com", "serverb.example.com") + source})
		p.leads(t, map[string]string{"user@example.com": "user@example.com on first", "other@example.com": "other@example.com on second", "nobody@example.com": ""})
		if third {
			p.leadsByIMAP(t, "third@example.com", "third@example.com on second")
		}
		p.denies(t, "user@example.com")
	}
	t.Run("natively", func(t *testing.T) {
		lookup := "SELECT crypt AS pass_hash, " + options + " AS options FROM passwd WHERE id = '%u'"
		try(t, fmt.Sprintf("[[accounts]]\ntype = \"sql\"\ndriver = %q\ndsn = %q\nlookup = %q\n", a.driver, a.dsn, lookup))
	})
	t.Run("by authdaemond", func(t *testing.T) { try(t, byAuthdaemond(t, a.module, a.rcFile, a.rc+options+"\n")) })
}

// byAuthdaemond starts an authdaemond with a module, and asks that. Courier takes an rc
// file without a marker for old.
func byAuthdaemond(t *testing.T, module, rcFile, rc string) (source string) {
	t.Helper()
	d := courier.Start(t, courier.Options{Modules: []string{module}, Files: map[string]string{rcFile: rc + "##NAME: MARKER:0\n"}})
	return example(t, "authdaemon.toml", "/run/courier/authdaemon/socket", d.Socket)
}
