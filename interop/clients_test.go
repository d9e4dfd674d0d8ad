package interop

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"usher/internal/need"
)

// users of twoStores: ann's mail is on east, bob's on west.
var users = []struct{ name, password, store string }{
	{ann, annSecret, "east"},
	{bob, bobSecret, "west"},
}

// usersOfTwo are their accounts: usher checks ann's password, west bob's.
func usersOfTwo() []account {
	return []account{checked(ann, annSecret, "east"), unchecked(bob, "west")}
}

func TestStockClients(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	for _, u := range users {
		t.Run("Python reads the mail of "+u.name, func(t *testing.T) {
			python := need.Program(t, "python3")
			args := []string{"testdata/clients.py", p.ca, p.port("imap"), p.port("imaps"), p.port("pop3"), p.port("pop3s")}
			output(t, exec.Command(python, append(args, u.name, u.password, subject(u.name, u.store))...))
		})
		t.Run("curl reads the mail of "+u.name, func(t *testing.T) {
			for _, c := range p.curls() {
				t.Run(strings.Join(c.args, " "), func(t *testing.T) {
					args := append(c.args, "-sS", "--cacert", p.ca, "-u", u.name+":"+u.password)
					text := output(t, exec.Command(need.Program(t, "curl"), args...))
					if want := strings.ReplaceAll(c.want, "SUBJECT", subject(u.name, u.store)); !strings.Contains(text, want) {
						t.Errorf("got\n%s\nwant %q", text, want)
					}
				})
			}
		})
	}
}

type curl struct {
	want string // in its output
	args []string
}

// curls list and fetch, in each way that curl can be secured; with a login by
// SASL and, where curl is told so, by LOGIN.
func (p *proxy) curls() (list []curl) {
	const found = "Subject: SUBJECT"
	for _, base := range [][]string{
		{"imaps://localhost:" + p.port("imaps")},
		{"imap://localhost:" + p.port("imap"), "--ssl-reqd"},
		{"imap://localhost:" + p.port("imap"), "--ssl-reqd", "--login-options", "AUTH=LOGIN"},
		{"imaps://localhost:" + p.port("imaps"), "--sasl-ir"},
		{"imap://localhost:" + p.port("imap")},
	} {
		list = append(list,
			curl{" INBOX", with(base, "/")},
			curl{found, with(base, "/INBOX;MAILINDEX=1")})
	}
	for _, base := range [][]string{
		{"pop3s://localhost:" + p.port("pop3s")},
		{"pop3://localhost:" + p.port("pop3"), "--ssl-reqd"},
		{"pop3s://localhost:" + p.port("pop3s"), "--sasl-ir"},
		{"pop3://localhost:" + p.port("pop3")},
	} {
		list = append(list, curl{"1 ", with(base, "/")}, curl{found, with(base, "/1")})
	}
	return list
}

// with puts the path behind the URL.
func with(base []string, path string) []string {
	return append([]string{base[0] + path}, base[1:]...)
}

func (p *proxy) port(listener string) string {
	_, port, _ := net.SplitHostPort(p.addrs[listener])
	return port
}
