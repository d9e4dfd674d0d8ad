package interop

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"usher/internal/dovecot"
	"usher/internal/sasl"
	"usher/internal/token/tokentest"
)

// named are all mechanisms that a configuration can name.
const named = `
[auth]
mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-SHA256", "CRAM-SHA1", "CRAM-MD5", "APOP", "EXTERNAL", "PLAIN", "LOGIN"]

`

// A wayIn is how usher logs in to the backend, and an account that is served so. Whoever
// proves himself by something else than his password has none that fits there.
type wayIn struct {
	name     string
	host     string
	password string // that usher checks
	more     account
}

const own = "the secret of usher only"

func waysIn() []wayIn {
	return []wayIn{
		{"with the client's password", "east", annSecret, nil},
		{"with the account's pass", "east", own, account{"pass": annSecret}},
		{"with the account's master", "east", own, account{"master": "boss", "pass": "boss' secret"}},
		{"with the backend's master", "boss", own, nil},
		{"with a token of usher's", "minted", own, nil},
	}
}

// stored are passwords in the forms that are good for some mechanism. Where nobody knows
// the clear one, the backend needs another way in.
func stored(t testing.TB, clear string) map[string]string {
	t.Helper()
	all := map[string]string{"PLAIN": "{PLAIN}" + clear}
	for _, scheme := range []string{"CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		c := usher(t, "hash", "--scheme", scheme)
		c.Stdin = strings.NewReader(clear + "\n")
		all[scheme] = strings.TrimSpace(output(t, c))
	}
	return all
}

// can tells whether a password in this form is good for a mechanism.
func (w mechanismWay) can(scheme string) bool {
	return w.shows() || w.name == "EXTERNAL" || slices.Contains(tokenWays, w) || scheme == "PLAIN" || strings.TrimSuffix(w.name, "-PLUS") == scheme
}

// Whatever the mechanism, the protocol, the form of the password and the way to the
// backend are: the client is in its mailbox, or the mechanism is none for this account.
func TestEveryMechanismComesToEveryBackend(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{Master: map[string]string{"boss": "boss' secret"}})
	minted := newStore(t, "east", dovecot.Options{Tokens: true, TokenSet: "issuers = usher.example.org\nclient_id = minted\n"})
	provider := tokentest.New(t)
	secret := filepath.Join(t.TempDir(), "master")
	write(t, secret, "boss' secret\n")
	for _, in := range waysIn() {
		t.Run(in.name, func(t *testing.T) {
			t.Parallel()
			people := peopleOf(t, in)
			all := setup{config: quick + strings.Replace(named, `"EXTERNAL"`, `"OAUTHBEARER", "XOAUTH2", "EXTERNAL"`, 1) + trusting(provider) +
				store("minted", minted, "none", `login = { as = "token", issuer = "usher.example.org" }`) + store("east", s, "none") + store("boss", s, "starttls", `login = { as = "master", name = "boss", password_file = "`+secret+`" }`)}
			authorities := filepath.Join(t.TempDir(), "authorities")
			var text []byte
			for _, one := range people {
				all.accounts = append(all.accounts, one.account)
				text = append(text, one.ca...)
			}
			write(t, authorities, string(text))
			all.tls = fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", authorities)
			p := start(t, all)
			p.command("token", "key", "--backend", "minted", "--dovecot", minted.Keys())
			for _, one := range people {
				t.Run(one.scheme, func(t *testing.T) {
					for _, protocol := range protocols {
						for _, w := range mechanismWays {
							one.try(t, p, protocol, w, in.password)
						}
						for _, w := range tokenWays {
							one.try(t, p, protocol, w, provider.Token(one.account["user"], nil))
						}
					}
				})
			}
		})
	}
}

// A person has a password that is stored in some form, and a certificate. Behind all of
// them is ann's mailbox.
type person struct {
	account     account
	scheme      string
	ca          []byte
	certificate *tls.Certificate
}

func peopleOf(t *testing.T, in wayIn) (all []person) {
	for scheme, hash := range stored(t, in.password) {
		if in.more == nil && in.host == "east" && scheme != "PLAIN" {
			continue // nobody knows the client's password
		}
		name := scheme + "@example.org"
		_, _, file, pair := clientCertificate(t, name)
		ca, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a := account{"user": name, "password": hash, "host": in.host, "destuser": ann}
		maps.Copy(a, in.more)
		all = append(all, person{a, scheme, ca, pair})
	}
	return all
}

func (one person) try(t *testing.T, p *proxy, protocol string, w mechanismWay, password string) {
	t.Helper()
	if w.name == "APOP" && protocol == "imap" {
		return
	}
	certificate := one.certificate
	if w.name != "EXTERNAL" {
		certificate = nil
	}
	c := p.secureClient(t, protocol, certificate)
	if !c.offers(w.name) {
		t.Errorf("%s %s is not offered: %s", protocol, w.name, c.greeting)
		return
	}
	answer := c.prove(w, one.account["user"], password)
	switch can := w.can(one.scheme); {
	case can && isOK(answer):
		c.finds(ann, "east")
	case can:
		t.Errorf("%s %s: %q", protocol, w.name, answer)
	case answer != denied[protocol]:
		t.Errorf("%s %s: %q, want a wrong password", protocol, w.name, answer)
	}
	_ = c.Close()
	if w.name == "EXTERNAL" {
		return
	}
	if answer := p.secureClient(t, protocol, nil).prove(w, one.account["user"], "another-secret"); answer != denied[protocol] {
		t.Errorf("%s %s with a wrong password: %q", protocol, w.name, answer)
	}
}

// What is not named is not offered, unless it works for everybody.
func TestByDefaultNothingIsOfferedThatSomeAccountsCannotUse(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	_, _, ca, certificate := clientCertificate(t, ann)
	p := start(t, setup{tls: fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", ca), config: quick + config, accounts: usersOfTwo()})
	for _, protocol := range protocols {
		for _, w := range mechanismWays {
			for _, cert := range []*tls.Certificate{nil, certificate} {
				want := w.shows() || w.name == "EXTERNAL" && cert != nil
				if got := p.secureClient(t, protocol, cert).offers(w.name); got != want {
					t.Errorf("%s %s, certificate %v: offered %v", protocol, w.name, cert != nil, got)
				}
			}
		}
		if answer := p.secureClient(t, protocol, nil).prove(mechanismWays[2], ann, annSecret); !strings.Contains(answer, "Unsupported") {
			t.Errorf("%s: a mechanism that is not offered: %q", protocol, answer)
		}
	}
}

// A certificate that proves nothing is no reason to refuse its owner's password.
func TestACertificateOfSomebodyElseIsNoHindrance(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	_, _, ca, _ := clientCertificate(t, ann)
	_, _, _, foreign := clientCertificate(t, ann)
	_, _, _, bobs := clientCertificate(t, bob)
	p := start(t, setup{tls: fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", ca), config: quick + config, accounts: usersOfTwo()})
	for _, protocol := range protocols {
		for _, cert := range []*tls.Certificate{foreign, bobs} {
			c := p.secureClient(t, protocol, cert)
			if c.offers("EXTERNAL") {
				t.Errorf("%s: EXTERNAL is offered", protocol)
			}
			if answer := c.prove(mechanismWay{"EXTERNAL", &sasl.External}, ann, ""); isOK(answer) {
				t.Errorf("%s: %s", protocol, answer)
			}
			if answer := c.prove(mechanismWay{"PLAIN", &sasl.Plain}, ann, annSecret); !isOK(answer) {
				t.Errorf("%s: %s", protocol, answer)
			}
		}
	}
	if !strings.Contains(p.logText(), "certificate signed by unknown authority") {
		t.Error("the log does not say what is wrong with the certificate")
	}
}

// Towards backends usher proves itself in the same ways.
func TestMechanismsTowardsBackends(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{Extra: "auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256\n", Master: map[string]string{"boss": "boss' secret"}})
	for _, mechanism := range []string{"CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{
				config:   quick + store("east", s, "starttls", fmt.Sprintf("login = { mechanism = %q }", mechanism)),
				accounts: []account{checked(ann, annSecret, "east"), unchecked(bob, "east")},
			})
			for _, protocol := range protocols {
				p.visit(t, protocol, ann, annSecret, "east")
				p.visit(t, protocol, bob, bobSecret, "east")
				if answer := p.client(t, protocol, "implicit").login(bob, "wrong secret"); answer != denied[protocol] {
					t.Errorf("%s: a password that the backend finds wrong: %s", protocol, answer)
				}
			}
		})
	}
}
