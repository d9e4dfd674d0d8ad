package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"usher/internal/dovecot"
)

// Servers that know usher by its certificate need no password of anybody.
func TestUsherShowsServersItsOwnCertificate(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "usher.example.org")
	readable(t, ca)
	s := newStore(t, "east", dovecot.Options{Extra: fmt.Sprintf(`
auth_mechanisms = plain login external
ssl_ca = <%s
ssl_verify_client_cert = yes
ssl_require_crl = no
auth_ssl_username_from_cert = yes
passdb {
  driver = static
  master = yes
  mechanisms = external
  args = nopassword
}
`, ca)})
	for _, security := range []string{"starttls", "implicit"} {
		t.Run(security, func(t *testing.T) {
			t.Parallel()
			own := fmt.Sprintf("cert = %q\nkey = %q\nlogin = { mechanism = \"EXTERNAL\" }", cert, key)
			p := start(t, setup{
				config:   quick + "\n[auth]\nmechanisms = [\"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]\n\n" + store("east", s, security, own),
				accounts: []account{{"user": ann, "password": stored(t, "another secret")["SCRAM-SHA-256"], "host": "east"}, unchecked(bob, "east")},
			})
			for _, protocol := range protocols {
				for _, w := range []int{0, 1, 6} {
					c := p.secureClient(t, protocol, nil)
					if answer := c.prove(mechanismWays[w], ann, "another secret"); !isOK(answer) {
						t.Errorf("%s %s: %q", protocol, mechanismWays[w].name, answer)
						continue
					}
					c.finds(ann, "east")
				}
				if answer := p.client(t, protocol, "implicit").login(bob, bobSecret); answer != misconfigured[protocol] {
					t.Errorf("%s: bob, whose password nobody checks, hears %q", protocol, answer)
				}
			}
		})
	}
}

// readable lets other users read a file of the test's temporary folder.
func readable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(file); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
