package server

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"usher/internal/config"
	"usher/internal/dovecot"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/logs"
)

// parse reads a configuration. Its file names are relative to dir.
func parse(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(dir, "usher.toml"), []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// certificate puts cert.pem and key.pem into a folder.
func certificate(t *testing.T) (dir string) {
	cert, _, _ := dovecot.Certificate(t, "mail.example.org")
	return filepath.Dir(cert)
}

const imapOnly = "[[listen]]\nprotocol = 'imap'\ntls = 'none'\n"

func TestAllMistakesAreToldAtOnceWithTheirLines(t *testing.T) {
	dir := certificate(t)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing to do", "", []string{
			`listen: there is nothing to listen on: add a [[listen]] block with protocol = "imap"`,
		}},
		{"TLS without a certificate", "[[listen]]\nprotocol = 'imap'\n[[listen]]\nprotocol = 'pop3'\ntls = 'implicit'\n", []string{
			`1:3: listen[0].tls: tls = "starttls" needs a certificate: set cert and key in [tls], or tls = "none" here`,
			`5:7: listen[1].tls: tls = "implicit" needs a certificate: set cert and key in [tls], or tls = "none" here`,
		}},
		{"a certificate without key", imapOnly + "[tls]\ncert = 'cert.pem'\n", []string{
			`4:2: tls: cert and key belong together: set both, or neither`,
		}},
		{"files that are not there", "[tls]\ncert = 'gone.pem'\nkey = 'key.pem'\n[[tls.certificate]]\ncert = 'cert.pem'\nkey = 'cert.pem'\n" + imapOnly, []string{
			`2:8: tls.cert: stat DIR/gone.pem: no such file or directory: check that both files are PEM, belong together and may be read by usher`,
			`5:8: tls.certificate[0].cert: certificate DIR/cert.pem with key DIR/cert.pem: tls: found a certificate rather than a key in the PEM for the private key: check that both files are PEM, belong together and may be read by usher`,
		}},
		{"addresses", "[[listen]]\nprotocol = 'imap'\ntls = 'none'\naddr = ['127.0.0.1', ':imap', ':143', ':99999']\n", []string{
			`4:9: listen[0].addr[0]: "127.0.0.1" is no address with a port: write it as "127.0.0.1:143", "[::1]:143" or ":143"`,
			`4:22: listen[0].addr[1]: ":imap" is no address with a port: write it as "127.0.0.1:143", "[::1]:143" or ":143"`,
			`4:39: listen[0].addr[3]: ":99999" is no address with a port: write it as "127.0.0.1:143", "[::1]:143" or ":143"`,
		}},
		{"networks", imapOnly + "proxy_protocol = ['10.0.0.0/8', '10.0.0.256']\ntrusted = ['localhost']\n[backend.east]\nproxy_protocol = 3\n[server]\nident = '113'\n", []string{
			`4:33: listen[0].proxy_protocol[1]: "10.0.0.256" is no network: write it as "10.0.0.0/24" or "10.0.0.5"`,
			`5:12: listen[0].trusted[0]: "localhost" is no network: write it as "10.0.0.0/24" or "10.0.0.5"`,
			`7:18: backend.east.proxy_protocol: there is no version 3 of the PROXY header: write 1 or 2, or 0 for none`,
			`9:9: server.ident: "113" is no address with a port: write it as "10.0.0.5:113" or ":113"`,
		}},
		{"mechanisms", imapOnly + "[auth]\nmechanisms = ['PLAIN', 'NTLM']\n", []string{
			`5:24: auth.mechanisms[1]: there is no mechanism "NTLM": use some of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-SHA256, CRAM-SHA1, CRAM-MD5, APOP, EXTERNAL, OAUTHBEARER, XOAUTH2, PLAIN, LOGIN`,
		}},
		{"mechanisms that can work for nobody", imapOnly + "[auth]\nmechanisms = ['EXTERNAL', 'XOAUTH2', 'SCRAM-SHA-1-PLUS', 'CRAM-MD5']\n[[accounts]]\ntype = 'any'\n[backend.default]\naddr = ['mail']\n", []string{
			`5:15: auth.mechanisms[0]: EXTERNAL needs certificates of clients, for which nobody asks them: set client_ca in [tls]`,
			`5:27: auth.mechanisms[1]: XOAUTH2 needs somebody who says whose a token is: set issuer or introspection in [auth.oauth2]`,
			`5:38: auth.mechanisms[2]: SCRAM-SHA-1-PLUS works for none of these account sources: they tell no passwords: leave it out`,
			`5:58: auth.mechanisms[3]: CRAM-MD5 works for none of these account sources: they tell no passwords: leave it out`,
		}},
		{"a certificate towards backends", imapOnly + "[backend.east]\naddr = ['mail']\nlogin = { mechanism = 'external' }\n[backend.west]\naddr = ['mail']\ncert = 'gone.pem'\n", []string{
			`6:23: backend.east.login.mechanism: by EXTERNAL the backend sees usher's own certificate, and nothing else: set cert and key, and as = "user"`,
			`9:8: backend.west.cert: a certificate is shown under TLS only: choose another tls`,
			`9:8: backend.west.cert: stat DIR/gone.pem: no such file or directory: check that cert and key are both given, are PEM, belong together and may be read by usher`,
		}},
		{"masters", imapOnly + "[auth]\nmaster_separator = '*'\n[[accounts]]\ntype = 'any'\n[backend.default]\naddr = ['mail']\n", []string{
			`5:20: auth.master_separator: there are no masters: set master = true in the [[accounts]] block that has the masters`,
		}},
		{"masters only", imapOnly + "[[accounts]]\ntype = 'any'\nmaster = true\n[backend.default]\naddr = ['mail']\n", []string{
			`4:3: accounts: there are masters only: add an [[accounts]] block for those whom they act for`,
			`6:10: accounts[0].master: of this kind everybody would be a master: leave master out, or use another type`,
		}},
		{"masters in every address", imapOnly + "[auth]\nmaster_separator = '@'\n[[accounts]]\ntype = 'sql'\n[[accounts]]\ntype = 'passwd'\npath = '/etc/passwd'\nmaster = true\n", []string{
			`5:20: auth.master_separator: every address would be that of a master: use another, such as "*"`,
		}},
		{"a way in for nobody", imapOnly + "[[accounts]]\ntype = 'any'\n[backend.default]\naddr = ['mail']\nlogin = { as = 'master', name = 'boss', password = 'secret' }\n", []string{
			`8:9: backend.default.login: nobody can log in here: accounts of type "any" leave passwords to the server, which would see none: use a source that checks passwords, or as = "user" without EXTERNAL`,
		}},
		{"certificates that nobody can show", imapOnly + "[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\nclient_ca = 'cert.pem'\n[auth]\nmechanisms = ['EXTERNAL']\n", []string{
			`9:15: auth.mechanisms[0]: EXTERNAL needs TLS, which no listener has: leave it out, or choose another tls in [[listen]]`,
		}},
		{"tokens without a name", imapOnly + "[auth.oauth2]\nintrospection = 'https://login.example.org'\nclaim = ''\n", []string{
			`6:9: auth.oauth2.claim: nobody knows whose a token is: leave it out, or write "email"`,
		}},
		{"a mechanism that needs TLS", imapOnly + "[auth]\nmechanisms = ['SCRAM-SHA-1-PLUS']\n", []string{
			`5:15: auth.mechanisms[0]: SCRAM-SHA-1-PLUS is bound to TLS, which no listener has: leave it out, or choose another tls in [[listen]]`,
		}},
		{"names", imapOnly + "[auth]\nusername_translate = '%@#'\n", []string{
			`5:22: auth.username_translate: "%@#" are no pairs of characters: write two characters for each change, such as "%@"`,
		}},
		{"certificates of clients", imapOnly + "[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\nclient_ca = 'key.pem'\ncrl = 'cert.pem'\n", []string{
			`7:13: tls.client_ca: DIR/key.pem holds no certificate: give a PEM file of certificates`,
			`8:7: tls.crl: there is a "CERTIFICATE" in it, and not only lists of revoked certificates: give a file of lists in PEM, or one in DER, that usher may read`,
		}},
		{"revoked certificates of nobody", imapOnly + "[tls]\ncrl = 'cert.pem'\n", []string{
			`5:7: tls.crl: without client_ca no client is asked for a certificate: set client_ca, or leave crl out`,
		}},
		{"account sources", imapOnly + "[[accounts]]\ntype = 'any'\ncolour = 'red'\n[backend.default]\naddr = ['mail']\n", []string{
			`6:1: accounts[0].colour: unknown key: leave it out`,
		}},
		{"what is done with answers", imapOnly + "[[accounts]]\ntype = 'sql'\nname = 'a'\nkeys = ['{user}', '{usr}']\nset = { host = '{host', colour = '{any_field}' }\n[[accounts]]\ntype = 'sql'\nname = 'a'\n", []string{
			`7:19: accounts[0].keys[1]: template "{usr}": {usr} is no variable; there are [user name domain protocol remote local server_name secured]; write {{ for a plain {: see doc/config.md`,
			`8:16: accounts[0].set.host: template "{host": no } closes "{host"; write {{ for a plain {: see doc/config.md`,
			`11:8: accounts[1].name: there is an account source "a" already: give it another name`,
		}},
		{"backends", imapOnly + "[backend.east]\naddr = ['a b']\nimap = ['x:0']\npop3 = ['p:']\nca = 'gone.pem'\nlogin = { as = 'master', mechanism = 'LOGIN' }\n[backend.west]\nca = 'key.pem'\nlogin = { mechanism = 'NTLM' }\n", []string{
			`5:9: backend.east.addr[0]: host "a b" is neither a name nor an address: write it as "imap1.example.org" or "imap1.example.org:1143"`,
			`6:9: backend.east.imap[0]: host "x:0": "0" is not a port number: write it as "imap1.example.org" or "imap1.example.org:1143"`,
			`7:9: backend.east.pop3[0]: host "p:": the port is missing behind the colon: write it as "imap1.example.org" or "imap1.example.org:1143"`,
			`8:6: backend.east.ca: open DIR/gone.pem: no such file or directory: check the path, and that usher may read it`,
			`9:9: backend.east.login: a master has a name and a password: add name and password_file`,
			`9:38: backend.east.login.mechanism: LOGIN cannot say for whom a master logs in: leave mechanism out, or set separator`,
			`11:6: backend.west.ca: DIR/key.pem holds no certificate: give a PEM file of certificates`,
			`12:23: backend.west.login.mechanism: there is no mechanism "NTLM": leave it out, or use one of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-SHA256, CRAM-SHA1, CRAM-MD5, EXTERNAL, OAUTHBEARER, XOAUTH2, PLAIN, LOGIN`,
		}},
		{"routes", imapOnly + "[[route]]\nto = 'east'\n[[route]]\nto = 'refuse'\nwhen = { network = '192.0.2' }\n[[route]]\nto = 'empty'\n[backend.empty]\n[[route]]\nto = 'default'\n", []string{
			`5:6: route[0].to: there is no backend "east": use account, local, home, refuse or the name of a [backend.NAME]`,
			`8:20: route[1].when.network: "192.0.2" is no network: write it as "192.0.2.0/24"`,
			`10:6: route[2].to: backend "empty" has no address: add addr to [backend.empty]`,
			`13:6: route[3].to: there is no backend "default": use account, local, home, refuse or the name of a [backend.NAME]`,
		}},
		{"networks", imapOnly + "[limit]\nprefix4 = 0\nprefix6 = 129\nexempt = ['192.0.2.0/24', 'webmail']\n", []string{
			`5:11: limit.prefix4: 0 is not how many bits of an IPv4 address may count: write a number from 1 to 32`,
			`6:11: limit.prefix6: 129 is not how many bits of an IPv6 address may count: write a number from 1 to 128`,
			`7:27: limit.exempt[1]: "webmail" is no network: write it as "10.0.0.0/24" or "10.0.0.5"`,
		}},
		{"where the log goes", imapOnly + "[server]\nlog = 'syslog+tls://loghost?ca=/gone.pem'\n", []string{
			`5:7: server.log: open /gone.pem: no such file or directory: ` + logs.Usage,
		}},
		{"a log of no kind", imapOnly + "[server]\nlog = 'jornal'\n", []string{
			`5:7: server.log: "jornal" is no place for a log: ` + logs.Usage,
		}},
		{"tokens", imapOnly + "[auth.oauth2]\nissuer = 'http://login.example.org'\nca = 'gone.pem'\ntimeout = '0s'\n[backend.east]\nlogin = { as = 'token', mechanism = 'PLAIN', key_file = 'gone.key' }\n", []string{
			`4:7: auth.oauth2: the issuer's tokens for any other service would open mailboxes: set audience, or scope`,
			`5:10: auth.oauth2.issuer: without TLS anybody on the way can say which tokens are good: use https`,
			`6:6: auth.oauth2.ca: open DIR/gone.pem: no such file or directory: check the path, and that usher may read it`,
			`7:11: auth.oauth2.timeout: somebody must wait for the provider: leave it out, or write "5s"`,
			`9:37: backend.east.login.mechanism: PLAIN shows no token: leave it out, or use OAUTHBEARER or XOAUTH2`,
			`9:57: backend.east.login.key_file: open DIR/gone.key: no such file or directory: give a private key that usher may read, as from: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`,
		}},
		{"tokens of nobody", imapOnly + "[auth.oauth2]\naudience = ['mail']\n", []string{
			`4:7: auth.oauth2: nobody says which tokens are good: set issuer, or introspection`,
		}},
		{"a provider with a password", imapOnly + "[auth.oauth2]\nintrospection = 'https://usher:secret@login.example.org/'\n", []string{
			`5:17: auth.oauth2.introspection: "***" is no URL of a provider: write it as "https://login.example.org"`,
		}},
		{"tokens that are asked about", imapOnly + "[auth.oauth2]\nintrospection = 'login.example.org'\nkeys = 'keys.pem'\n", []string{
			`5:17: auth.oauth2.introspection: "login.example.org" is no URL of a provider: write it as "https://login.example.org"`,
			`6:8: auth.oauth2.keys: with introspection tokens are not checked here: keep one of the two`,
		}},
		{"in the order of the file", "[[accounts]]\ntype = 'any'\ncolour = 'red'\n[[listen]]\nprotocol = 'imap'\n[auth]\nmechanisms = ['NTLM']\n", []string{
			`3:1: accounts[0].colour: unknown key: leave it out`,
			`4:3: listen[0].tls: tls = "starttls" needs a certificate: set cert and key in [tls], or tls = "none" here`,
			`7:15: auth.mechanisms[0]: there is no mechanism "NTLM": use some of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-SHA256, CRAM-SHA1, CRAM-MD5, APOP, EXTERNAL, OAUTHBEARER, XOAUTH2, PLAIN, LOGIN`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(parse(t, dir, c.text))
			if got := told(dir, err); !slices.Equal(got, c.want) {
				t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			var one config.Mistake
			if !errors.As(err, &one) {
				t.Errorf("%T is no list of mistakes", err)
			}
		})
	}
}

// told are the lines of an error without the file's name.
func told(dir string, err error) []string {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), dir+"/usher.toml:", "")
	text = strings.ReplaceAll(text, "\n ", "\n")
	lines := strings.Split(strings.ReplaceAll(text, dir, "DIR"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

func build(t *testing.T, dir, text string) *Server {
	t.Helper()
	s, err := New(parse(t, dir, text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListenersHaveWhatTheirBlockSays(t *testing.T) {
	s := build(t, certificate(t), `
[server]
hostname = "mail.example.org"
[tls]
cert = "cert.pem"
key = "key.pem"
min_version = "1.3"
[[listen]]
protocol = "imap"
default_domain = "example.org"
cleartext_login = "never"
[[listen]]
protocol = "imap"
tls = "implicit"
[[listen]]
protocol = "pop3"
tls = "none"
cleartext_login = "always"
addr = ["127.0.0.1:1110", "[::1]:1110"]
[limit]
login_timeout = "7s"
command_timeout = "3s"
`)
	services := s.house.Load().services
	var addrs []string
	for _, v := range services {
		addrs = append(addrs, v.addr)
	}
	if want := []string{":143", ":993", "127.0.0.1:1110", "[::1]:1110"}; !slices.Equal(addrs, want) {
		t.Fatalf("it listens on %q, want %q", addrs, want)
	}
	l := services[0]
	if l.Terms.Hostname != "mail.example.org" || l.Terms.Domain != "example.org" || l.Terms.Cleartext != login.CleartextNever || l.Implicit {
		t.Errorf("the first is %+v", l.Terms)
	}
	if c := l.Terms.TLS; c == nil || c.MinVersion != 0x0304 || !slices.Equal(c.NextProtos, []string{"imap"}) {
		t.Errorf("its TLS is %+v", c)
	}
	if l.Bounds != (listen.Bounds{Login: 7 * time.Second, Command: 3 * time.Second}) {
		t.Errorf("its bounds are %+v", l.Bounds)
	}
	if !services[1].Implicit || services[2].Terms.TLS != nil || services[2].Terms.Cleartext != login.CleartextAlways {
		t.Error("the others are not as they were written")
	}
}

func TestOurNameIsTheFirstThatIsKnown(t *testing.T) {
	machine, _ := os.Hostname()
	for _, c := range []struct{ written, courier, want string }{
		{"a.example.org", "b.example.org", "a.example.org"},
		{"", "b.example.org", "b.example.org"},
		{"", "", machine},
	} {
		t.Setenv("PROXY_HOSTNAME", c.courier)
		s := build(t, t.TempDir(), "server.hostname = '"+c.written+"'\n"+imapOnly)
		if got := s.house.Load().services[0].Terms.Hostname; got != c.want {
			t.Errorf("hostname %q, PROXY_HOSTNAME %q: it calls itself %q, want %q", c.written, c.courier, got, c.want)
		}
	}
}

func TestLimitsAndMechanismsAreAsWritten(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly+`
[auth]
mechanisms = ["LOGIN"]
[limit]
logins = 8
logins_per_address = 1
logins_per_minute = 9
sessions_per_user = 2
sessions_per_user_address = 3
sessions_per_address = 4
prefix4 = 24
prefix6 = 56
exempt = ["192.0.2.7", "2001:db8::1/32"]
idle_timeout = "4s"
failure_delay = "5s"
failure_delay_max = "30s"
`)
	h := s.house.Load()
	d, l := h.desk, h.bounds(7)
	if d.Idle != 4*time.Second || d.FailureDelay != 5*time.Second {
		t.Errorf("the desk is %+v", d)
	}
	want := limit.Bounds{
		Connections: 7, Logins: 8, LoginsPerAddress: 1, LoginsPerMinute: 9, SessionsPerUser: 2, SessionsPerUserAddress: 3, SessionsPerAddress: 4,
		Networks: limit.Networks{V4: 24, V6: 56, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}},
	}
	if diff := cmp.Diff(want, l, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the bounds (-want +got):\n%s", diff)
	}
	if len(d.Mechanisms) != 1 || d.Mechanisms[0].Name != "LOGIN" {
		t.Errorf("clients may use %s", namesOf(d.Mechanisms))
	}
}
