package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/dovecot"
	"usher/internal/sasl"
	"usher/internal/token/tokentest"
)

var tokenWays = []mechanismWay{{"OAUTHBEARER", &sasl.OAuthBearer}, {"XOAUTH2", &sasl.XOAuth2}}

// trusting is [auth.oauth2] that checks the provider's tokens here.
func trusting(p *tokentest.Provider, more ...string) string {
	return fmt.Sprintf("\n[auth.oauth2]\nissuer = %q\nca = %q\naudience = [\"mail\"]\nscope = [\"imap\"]\n%s\n\n", p.URL, p.CA, strings.Join(more, "\n"))
}

// asking is [auth.oauth2] that asks the provider.
func asking(t testing.TB, p *tokentest.Provider) string {
	file := filepath.Join(t.TempDir(), "client")
	write(t, file, p.Secret+"\n")
	return fmt.Sprintf("\n[auth.oauth2]\nintrospection = %q\nclient_id = %q\nclient_secret_file = %q\nca = %q\naudience = [\"mail\"]\n\n", p.Introspect, p.ID, file, p.CA)
}

// knows gives a Dovecot the provider's key.
func knows(t testing.TB, s *dovecot.Server, p *tokentest.Provider) {
	s.AddKey("default/ES256/"+p.Key().KeyID, tokentest.PEM(t, p.PublicKey()))
}

// The servers behind are shown what the client has shown, and check it themselves.
func TestATokenOpensItsOwnersMailbox(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	s := newStore(t, "east", dovecot.Options{Tokens: true, TokenSet: "issuers = " + provider.URL + "\nclient_id = mail\nscope = imap\n"})
	knows(t, s, provider)
	for _, only := range []string{"", "OAUTHBEARER", "XOAUTH2"} {
		t.Run("towards the server "+only, func(t *testing.T) {
			t.Parallel()
			login := fmt.Sprintf("login = { mechanism = %q }", only)
			p := start(t, setup{config: quick + trusting(provider) + store("east", s, "starttls", login), accounts: []account{checked(ann, annSecret, "east")}})
			for _, protocol := range protocols {
				for _, w := range tokenWays {
					good := provider.Token(ann, nil)
					c := p.secureClient(t, protocol, nil)
					if !c.offers(w.name) {
						t.Fatalf("%s %s is not offered", protocol, w.name)
					}
					if answer := c.prove(w, ann, good); !isOK(answer) {
						t.Errorf("%s %s: %q", protocol, w.name, answer)
						continue
					}
					c.finds(ann, "east")
					for name, text := range map[string]string{
						bob: good,
						ann: provider.Token(ann, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
					} {
						if answer := p.secureClient(t, protocol, nil).token(w, name, text); answer != denied[protocol] {
							t.Errorf("%s %s: %s hears %q", protocol, w.name, name, answer)
						}
					}
				}
			}
			if log := p.logText(); strings.Contains(log, "eyJ") {
				t.Error("the log holds a token")
			}
		})
	}
}

// token shows a token and hears why it is refused, if it is: RFC 7628 §3.2.3.
func (c secureClient) token(w mechanismWay, name, text string) string {
	c.t.Helper()
	x := &lines{c: c.client, command: c.auth() + " " + w.name}
	why, err := x.Send([]byte(bearer(w.name, name, text)))
	if err != nil {
		return x.verdict
	}
	var said struct{ Status, Scope string }
	if err := json.Unmarshal(why, &said); err != nil || said.Status == "" {
		c.t.Errorf("%s: %q says nothing of the refusal: %v", w.name, why, err)
	}
	_, _ = x.Send([]byte("\x01"))
	return x.verdict
}

func bearer(mechanism, name, text string) string {
	if mechanism == "XOAUTH2" {
		return "user=" + name + "\x01auth=Bearer " + text + "\x01\x01"
	}
	return "n,a=" + name + ",\x01auth=Bearer " + text + "\x01\x01"
}

// Where servers know no tokens, usher lets its clients in by what they do know.
func TestATokenIsTranslatedForOldServers(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	s := newStore(t, "east", dovecot.Options{Master: map[string]string{"boss": "boss' secret"}})
	secret := filepath.Join(t.TempDir(), "master")
	write(t, secret, "boss' secret\n")
	config := quick + asking(t, provider) + store("east", s, "none") + store("boss", s, "none", fmt.Sprintf("login = { as = \"master\", name = \"boss\", password_file = %q }", secret))
	person := func(name, password, host string, more account) account {
		a := account{"user": name, "password": password, "host": host, "destuser": ann}
		maps.Copy(a, more)
		return a
	}
	hash := stored(t, "another secret")["SCRAM-SHA-256"]
	p := start(t, setup{config: config, accounts: []account{
		person("master@x", hash, "boss", nil),
		person("clear@x", "{PLAIN}"+annSecret, "east", nil),
		person("pass@x", hash, "east", account{"pass": annSecret}),
		person("none@x", hash, "east", nil),
	}})
	for _, protocol := range protocols {
		for _, name := range []string{"master@x", "clear@x", "pass@x"} {
			c := p.secureClient(t, protocol, nil)
			if answer := c.prove(tokenWays[0], name, provider.Opaque(provider.Claims(name, nil))); !isOK(answer) {
				t.Errorf("%s %s: %q", protocol, name, answer)
				continue
			}
			c.finds(ann, "east")
		}
		if answer := p.secureClient(t, protocol, nil).prove(tokenWays[0], "none@x", provider.Opaque(provider.Claims("none@x", nil))); isOK(answer) || answer == denied[protocol] {
			t.Errorf("%s: %q", protocol, answer)
		}
	}
	if !strings.Contains(p.logText(), "the server takes no tokens") {
		t.Error("the log does not say what to do")
	}
	provider.Instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	for _, protocol := range protocols {
		if answer := p.secureClient(t, protocol, nil).prove(tokenWays[1], "clear@x", "a new secret"); isOK(answer) || answer == denied[protocol] {
			t.Errorf("%s: in an outage %q", protocol, answer)
		}
	}
}

// Whoever has proven who he is gets in, and no password goes through the network.
func TestUsherSignsTokensForServers(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{Tokens: true, TokenSet: "issuers = usher.example.org\nclient_id = dovecot\n", Master: map[string]string{"nobody": "knows this secret"}})
	scram := stored(t, "another secret")["SCRAM-SHA-256"]
	_, _, ca, certificate := clientCertificate(t, ann)
	for _, only := range []string{"", "OAUTHBEARER", "XOAUTH2"} {
		t.Run("by "+only, func(t *testing.T) {
			t.Parallel()
			login := fmt.Sprintf("login = { as = \"token\", audience = \"dovecot\", mechanism = %q }", only)
			p := start(t, setup{
				tls: fmt.Sprintf("client_ca = %q\nexternal_name = \"cn\"", ca), config: quick + named + store("east", s, "none", login) +
					store("west", s, "none", `login = { as = "token" }`),
				accounts: []account{{"user": ann, "password": scram, "host": "east"}, unchecked(bob, "east"), {"user": "west@x", "password": "{PLAIN}secret", "host": "west", "destuser": ann}},
			})
			printed := p.command("token", "key", "--backend", "east", "--dovecot", s.Keys())
			if !strings.HasPrefix(printed, s.Keys()+"/default/ES256/") || !strings.Contains(p.command("token", "key"), "BEGIN PUBLIC KEY") {
				t.Errorf("it is printed %q", printed)
			}
			for _, protocol := range protocols {
				for _, w := range mechanismWays {
					if !w.can("SCRAM-SHA-256") || w.name == "APOP" {
						continue
					}
					cert := certificate
					if w.name != "EXTERNAL" {
						cert = nil
					}
					c := p.secureClient(t, protocol, cert)
					if answer := c.prove(w, ann, "another secret"); !isOK(answer) {
						t.Errorf("%s %s: %q", protocol, w.name, answer)
						continue
					}
					c.finds(ann, "east")
				}
				if answer := p.secureClient(t, protocol, nil).prove(mechanismWays[0], bob, bobSecret); isOK(answer) {
					t.Errorf("%s: bob, whose password nobody checks, hears %q", protocol, answer)
				}
				if answer := p.secureClient(t, protocol, nil).prove(mechanismWays[0], "west@x", "secret"); isOK(answer) {
					t.Errorf("%s: a token for another server: %q", protocol, answer)
				}
			}
		})
	}
}

func TestASessionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	s := newStore(t, "east", dovecot.Options{Tokens: true})
	knows(t, s, provider)
	p := start(t, setup{config: quick + trusting(provider, "end_with_token = true", `skew = "0s"`) + store("east", s, "none"), accounts: []account{checked(ann, annSecret, "east")}})
	soon := map[string]any{"exp": time.Now().Add(8 * time.Second).Unix()}
	short, long := p.secureClient(t, "imap", nil), p.secureClient(t, "imap", nil)
	if answer := long.prove(tokenWays[0], ann, provider.Token(ann, nil)); !isOK(answer) {
		t.Fatal(answer)
	}
	if answer := short.prove(tokenWays[0], ann, provider.Token(ann, soon)); !isOK(answer) {
		t.Fatal(answer)
	}
	if line := short.line(); !strings.HasPrefix(line, "* BYE") || !short.ended() {
		t.Errorf("it hears %q", line)
	}
	p.eventually("the log says why", func() bool { return strings.Contains(p.logText(), `why="token expired"`) })
	long.finds(ann, "east")
}

// A session knows in the next process, too, when its token ends.
func TestASessionThatHasMovedEndsWithItsToken(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	s := newStore(t, "east", dovecot.Options{Tokens: true})
	knows(t, s, provider)
	p := start(t, setup{config: quick + trusting(provider, "end_with_token = true", `skew = "0s"`) + store("east", s, "none"), accounts: []account{checked(ann, annSecret, "east")}})
	defer p.stopAll()
	c := p.client(t, "imap", "none")
	x := &lines{c: c, command: c.auth() + " OAUTHBEARER"}
	end := time.Now().Add(12 * time.Second)
	if _, err := x.Send([]byte(bearer("OAUTHBEARER", ann, provider.Token(ann, map[string]any{"exp": end.Unix()})))); !isOK(x.verdict) {
		t.Fatal(x.verdict, err)
	}
	p.command("upgrade")
	if !time.Now().Before(end) {
		t.Skip("the upgrade took too long to see anything")
	}
	if line := c.line(); !strings.HasPrefix(line, "* BYE") || time.Now().Before(end.Add(-time.Second)) {
		t.Errorf("it hears %q", line)
	}
	p.eventually("the log says why", func() bool { return strings.Contains(p.logText(), `why="token expired"`) })
}

// An administrator hears before the users do that the provider is not there.
func TestCheckAsksTheProviderOfTokens(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	p := start(t, setup{config: trusting(provider) + "[backend.default]\naddr = []\n"})
	if said := p.command("check", "--live"); !strings.Contains(said, "ok    tokens: fetch the keys of "+provider.URL) {
		t.Errorf("it says %q", said)
	}
	provider.Stop()
	out, err := usher(t, "check", "--live", "-c", p.file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "FAIL  tokens: fetch the keys of "+provider.URL) {
		t.Errorf("without the provider it says %q", out)
	}
}

// curl is no part of this project.
func TestCurlShowsTokens(t *testing.T) {
	t.Parallel()
	provider := tokentest.New(t)
	s := newStore(t, "east", dovecot.Options{Tokens: true})
	knows(t, s, provider)
	p := start(t, setup{config: quick + trusting(provider) + store("east", s, "none"), accounts: []account{checked(ann, annSecret, "east")}})
	for _, url := range []string{"imaps://localhost:" + p.port("imaps") + "/INBOX;MAILINDEX=1", "pop3s://localhost:" + p.port("pop3s") + "/1"} {
		for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
			for _, ir := range [][]string{nil, {"--sasl-ir"}} {
				args := append(ir, url, "-sS", "--cacert", p.ca, "-u", ann+":", "--oauth2-bearer", provider.Token(ann, nil), "--login-options", "AUTH="+mechanism)
				if text := output(t, patiently(t, "curl", args...)); !strings.Contains(text, "Subject: "+subject(ann, "east")) {
					t.Errorf("%s %s %s: got\n%s", url, mechanism, ir, text)
				}
			}
		}
	}
}
