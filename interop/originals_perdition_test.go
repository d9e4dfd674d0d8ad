package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/slapd"
)

// anarchy is the directory of the book. Who searches in it sees no passwords: the
// servers behind check them.
func anarchy() string {
	ldif := "dn: o=Anarchy\nobjectClass: organization\no: Anarchy\n\n" +
		"dn: dc=org,o=Anarchy\nobjectClass: domain\ndc: org\n\n" +
		"dn: dc=infra,dc=org,o=Anarchy\nobjectClass: domain\ndc: infra\n\n" +
		"dn: ou=People,dc=infra,dc=org,o=Anarchy\nobjectClass: organizationalUnit\nou: People\n\n"
	for _, x := range [][3]string{{"ann", "contumacia", "active"}, {"bob", "latitanza", "active"}, {"cy", "contumacia", "suspended"}} {
		ldif += fmt.Sprintf("dn: %[1]s\nobjectClass: inetOrgPerson\nobjectClass: mailUser\ncn: %[2]s\nsn: %[2]s\nmail: %[2]s@domain.org\nuserPassword: %[3]s\nhost: %[4]s\nstatus: %[5]s\n\n",
			entry(x[0]), x[0], theirSecret, x[1], x[2])
	}
	return ldif
}

func entry(user string) string {
	return "mail=" + user + "@domain.org,ou=People,dc=infra,dc=org,o=Anarchy"
}

// mapLibraryOpt is that of the book's perdition.conf.
const mapLibraryOpt = `ldap://127.0.0.1/ou=People,dc=infra,\
          dc=org,o=Anarchy?mail,host?sub?(&(mail=%s)\
          (status=active))`

func TestOriginalPerdition(t *testing.T) {
	t.Parallel()
	b := orangeBook{twoServers(t), slapd.Start(t, slapd.Options{LDIF: anarchy(), Suffix: "o=Anarchy", Access: hidden})}
	t.Run("P004-4 and 7, active users, whose hosts are rewritten", b.active)
	t.Run("P004-1, a mailbox moves as its attribute is changed", b.move)
	t.Run("P004-10, the old server does not know the user any more", b.forgotten)
	t.Run("P004-10, the old server is gone", b.gone)
	t.Run("P004-5, the port behind", b.port)
}

// An orangeBook is what P004 describes: two mail servers, and a directory.
type orangeBook struct {
	servers   [2]*dovecot.Server
	directory *slapd.Server
}

// asks is the example, which has the URL of the book, with another template for host.
func (b orangeBook) asks(t *testing.T, host string) string {
	t.Helper()
	return example(t, "ldap-perdition.toml", mapLibraryOpt, strings.Replace(mapLibraryOpt, "127.0.0.1", b.directory.Addr, 1), "{host}-vpn:10143", host)
}

// start runs usher where servers are called contumacia-vpn and latitanza-vpn.
func (b orangeBook) start(t *testing.T) *proxy {
	t.Helper()
	return start(t, setup{config: called(b.servers, "contumacia-vpn", "latitanza-vpn") + b.asks(t, "{host}-vpn")})
}

// moves changes the host of a user as the book moves mailboxes.
func (b orangeBook) moves(user, host string) {
	b.directory.Modify("dn: " + entry(user) + "\nchangetype: modify\nreplace: host\nhost: " + host + "\n")
}

func (b orangeBook) active(t *testing.T) {
	p := b.start(t)
	p.leads(t, map[string]string{
		"ann@domain.org": "ann@domain.org on first", "bob@domain.org": "bob@domain.org on second",
		"cy@domain.org": "", "nobody@domain.org": "", "cy@domain.org)(status=*": "",
	})
	p.denies(t, "ann@domain.org", "bob@domain.org")
}

func (b orangeBook) move(t *testing.T) {
	p := b.start(t)
	p.leads(t, map[string]string{"ann@domain.org": "ann@domain.org on first"})
	b.moves("ann", "latitanza")
	p.leads(t, map[string]string{"ann@domain.org": "ann@domain.org on first"}) // as is remembered
	p.command("flush", "ann@domain.org")
	p.leads(t, map[string]string{"ann@domain.org": "ann@domain.org on second"})
}

func (b orangeBook) forgotten(t *testing.T) {
	p := b.start(t)
	p.leads(t, map[string]string{"bob@domain.org": "bob@domain.org on second"})
	b.moves("bob", "contumacia")
	forgets(t, b.servers[1], "bob@domain.org")
	p.leads(t, map[string]string{"bob@domain.org": "bob@domain.org on first"})
}

func (b orangeBook) gone(t *testing.T) {
	p := b.start(t)
	p.leads(t, map[string]string{"ann@domain.org": "ann@domain.org on second"})
	b.moves("ann", "contumacia")
	b.servers[1].Stop()
	p.leads(t, map[string]string{"ann@domain.org": "ann@domain.org on first"})
}

// port goes by a host that is no backend's name, but one that resolves.
func (b orangeBook) port(t *testing.T) {
	_, port, err := net.SplitHostPort(b.servers[0].IMAP)
	if err != nil {
		t.Fatal(err)
	}
	b.moves("ann", "local")
	p := start(t, setup{config: quick + b.asks(t, "{host}host:"+port)})
	if got := p.ends(t, "imap", "ann@domain.org", theirSecret); got != "ann@domain.org on first" {
		t.Errorf("localhost:%s is %q", port, got)
	}
}

// forgets takes a user from a server.
func forgets(t *testing.T, s *dovecot.Server, user string) {
	t.Helper()
	file := filepath.Join(s.Dir, "users")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var left strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, user+":") {
			left.WriteString(line)
		}
	}
	write(t, file, left.String())
	s.Restart() // it would look again by itself, but for a second know the user in part
}
