package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func noEnv(string) (string, bool) { return "", false }

func env(name string) (string, bool) {
	v, ok := map[string]string{"HOST": "imap1.example.org", "EMPTY": "", "PW": "hunter2"}[name]
	return v, ok
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/usher/usher.toml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// equal compares with the words of the thing that is compared.
func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %#v, not %#v", what, got, want)
	}
}

func TestDefaults(t *testing.T) {
	c := Default()
	equal(t, "server", c.Server, Server{
		State: "/var/lib/usher", Admin: "/run/usher/admin.sock", User: "usher",
		Relay: "epoll", Log: "auto", Grace: Duration(30 * time.Second), Retire: Duration(24 * time.Hour),
	})
	equal(t, "tls", c.TLS, TLS{MinVersion: "1.2", ExternalName: "email"})
	equal(t, "username_case", c.Auth.UsernameCase, "keep")
	equal(t, "limit", c.Limit, Limit{
		Logins: 10000, LoginsPerMinute: 6000, Prefix4: 32, Prefix6: 64,
		SessionsPerUser: 50, SessionsPerUserAddress: 20,
		LoginTimeout: Duration(time.Minute), CommandTimeout: Duration(30 * time.Second),
		IdleTimeout: Duration(35 * time.Minute), FailureDelay: Duration(2 * time.Second),
		FailureDelayMax: Duration(50 * time.Second),
	})
	equal(t, "number of sources", len(c.Accounts), 1)
	equal(t, "the source's type", c.Accounts[0].Type, "sql")
	var settings struct{ Driver string }
	if err := c.Accounts[0].Decode(&settings); err != nil || settings.Driver != "sqlite" {
		t.Errorf("the source's driver is %q, %v", settings.Driver, err)
	}
}

func TestDefaultsOfBlocks(t *testing.T) {
	c := parse(t, "[[listen]]\nprotocol = 'imap'\n[backend.east]\n")
	equal(t, "listen", c.Listen[0], Listen{Protocol: "imap", TLS: "starttls", CleartextLogin: "loopback"})
	equal(t, "backend", c.Backend["east"], Backend{
		TLS: "none", Verify: true, Login: Login{As: "user"},
		ConnectTimeout: Duration(5 * time.Second), Timeout: Duration(10 * time.Second),
	})
}

// Inline tables, dotted keys and headers are three ways to say one thing.
func TestForms(t *testing.T) {
	for _, text := range []string{
		"[backend.east]\naddr = ['a', 'b']\n[backend.east.login]\nas = 'master'\nname = 'm'",
		"[backend]\neast = { addr = ['a', 'b'], login = { as = 'master', name = 'm' } }",
		"backend.east.addr = ['a', 'b']\nbackend.east.login.as = 'master'\nbackend.east.login.name = 'm'",
	} {
		c := parse(t, text)
		equal(t, "addr", c.Backend["east"].Addr, []string{"a", "b"})
		equal(t, "login", c.Backend["east"].Login, Login{As: "master", Name: "m"})
	}
	c := parse(t, "route = [{ when = { user = 'a*', attr = { plan = 'gold' } }, to = 'x' }]")
	equal(t, "route", c.Route, []Route{{When: When{User: "a*", Attr: map[string]string{"plan": "gold"}}, To: "x"}})
}

func TestFileNames(t *testing.T) {
	c := parse(t, "[server]\nstate = 'state'\n[tls]\ncert = '/a.pem'\nkey = '../a.key'")
	equal(t, "state", c.Server.State, "/etc/usher/state")
	equal(t, "cert", c.TLS.Cert, "/a.pem")
	equal(t, "key", c.TLS.Key, "/etc/a.key")
}

func TestHasAndMistake(t *testing.T) {
	c := parse(t, "[tls]\n  cert = 'a.pem'\n\n[backend.east]\naddr = [\n  'a',\n  'b',\n]\n[[listen]]\nprotocol = 'imap'\n[[listen]]\nprotocol = 'pop3'\n")
	for key, want := range map[string]bool{
		"tls": true, "tls.cert": true, "tls.key": false, "listen[1].protocol": true, "listen[2]": false, "listen[0].tls": false,
	} {
		equal(t, "Has "+key, c.Has(key), want)
	}
	for key, want := range map[string]string{
		"tls.cert":             "/etc/usher/usher.toml:2:10: tls.cert: bad: mend it",
		"tls.key":              "/etc/usher/usher.toml:1:2: tls.key: bad: mend it", // absent: its table
		"backend.east.addr[1]": "/etc/usher/usher.toml:7:3: backend.east.addr[1]: bad: mend it",
		"backend.west.addr":    "/etc/usher/usher.toml:4:2: backend.west.addr: bad: mend it",
		"listen[1].tls":        "/etc/usher/usher.toml:11:3: listen[1].tls: bad: mend it",
		"server.user":          "/etc/usher/usher.toml: server.user: bad: mend it", // nowhere
	} {
		equal(t, key, c.Mistake(key, "bad", "mend it").Error(), want)
	}
}

func TestEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		"plain $ and $$":             "plain $ and $$",
		"${HOST}:143":                "imap1.example.org:143",
		"${NONE:-x}${EMPTY:-y}":      "xy",
		"${EMPTY}.":                  ".",
		"$${HOST}":                   "${HOST}",
		"$$${HOST}":                  "$${HOST}",
		"${HOST:-unused}":            "imap1.example.org",
		"${NONE:-a:-b}":              "a:-b",
		"$2y$05$abcdefg/hash":        "$2y$05$abcdefg/hash",
		"{user} {{ }} {name}@domain": "{user} {{ }} {name}@domain",
	} {
		c := parse(t, "[server]\nhostname = '"+text+"'")
		equal(t, text, c.Server.Hostname, want)
	}
}

func TestEnvironmentInAccounts(t *testing.T) {
	c := parse(t, "[[accounts]]\ntype = 'x'\nurl = ['${HOST}']\nmap = { a = '${PW}' }")
	var settings struct {
		URL []string
		Map map[string]string
	}
	if err := c.Accounts[0].Decode(&settings); err != nil {
		t.Fatal(err)
	}
	equal(t, "url", settings.URL, []string{"imap1.example.org"})
	equal(t, "map", settings.Map, map[string]string{"a": "hunter2"})
}

func TestDecodeAccounts(t *testing.T) {
	c := parse(t, "[[accounts]]\ntype = 'x'\nname = 'n'\nonly = ['a.org', '']\npath = 'users'\ntimeouts = '3s'\npasswords = 'p'\n")
	equal(t, "name", c.Accounts[0].Name, "n")
	equal(t, "only", c.Accounts[0].Only, []string{"a.org", ""})
	var settings struct {
		Path     string        `toml:"path" as:"path"`
		Timeouts time.Duration `toml:"timeouts" default:"1s"`
		Wait     time.Duration `toml:"wait" default:"5s"`
		Count    int           `default:"8"`
		Secret   string        `toml:"passwords" as:"secret"`
	}
	if err := c.Accounts[0].Decode(&settings); err != nil {
		t.Fatal(err)
	}
	equal(t, "path", settings.Path, "/etc/usher/users")
	equal(t, "timeouts", settings.Timeouts, 3*time.Second)
	equal(t, "wait", settings.Wait, 5*time.Second)
	equal(t, "count", settings.Count, 8)
	equal(t, "secret", settings.Secret, "p")
}

func TestTextMayStandForAListOfOne(t *testing.T) {
	c := parse(t, "[[accounts]]\ntype = 'x'\nurl = 'a'\nhosts = ['b', 'c']\n")
	var settings struct {
		URL   []string `toml:"url" as:"list"`
		Hosts []string `toml:"hosts" as:"list"`
		Other []string `toml:"other" as:"list" default:"d"`
		None  []string `toml:"none" as:"list"`
	}
	if err := c.Accounts[0].Decode(&settings); err != nil {
		t.Fatal(err)
	}
	equal(t, "url", settings.URL, []string{"a"})
	equal(t, "hosts", settings.Hosts, []string{"b", "c"})
	equal(t, "other", settings.Other, []string{"d"})
	equal(t, "none", settings.None, nil)
}

func TestDecodeAccountsMistakes(t *testing.T) {
	c := parse(t, "[[accounts]]\ntype = 'x'\npth = 'users'\nscope = 'subb'\n")
	var settings struct {
		Path  string `toml:"path"`
		Scope string `toml:"scope" default:"sub" oneof:"sub one base"`
	}
	err := c.Accounts[0].Decode(&settings)
	equal(t, "mistakes", err.Error(), `/etc/usher/usher.toml:3:1: accounts[0].pth: unknown key: did you mean "path"?
/etc/usher/usher.toml:4:9: accounts[0].scope: "subb" is none of sub, one, base: did you mean "sub"?`)
}

func TestIgnored(t *testing.T) {
	c := parse(t, `[server]
admin = "a.sock"
[[accounts]]
type = "any"
[cluster]
type = "memory"
[dashboard]
addr = 5
`)
	equal(t, "ignored", c.Ignored.Error(), `/etc/usher/usher.toml:5:2: cluster: this version does not act on it yet: leave it out
/etc/usher/usher.toml:7:2: dashboard: this version does not act on it yet: leave it out`)
	equal(t, "admin", c.Server.Admin, "/etc/usher/a.sock")
}

// Switching off what this version does not have is nothing to complain of.
func TestLaterKeysSwitchedOff(t *testing.T) {
	c := parse(t, `local = {}
[server]
own_names = []
[tls]
client_ca = ""
[[listen]]
protocol = "imap"
proxy_protocol = []
[backend.east]
trusted = false
proxy_protocol = 0
[auth]
master_separator = ""
[dashboard]
addr = ""
`)
	equal(t, "ignored", c.Ignored, nil)
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "east.secret")
	if err := os.WriteFile(file, []byte("s3cret\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() *Config {
		text := "[backend.east]\nlogin = { as = 'master', name = 'm', password_file = 'east.secret' }"
		c, err := Parse(filepath.Join(dir, "usher.toml"), []byte(text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load()
	equal(t, "password", c.Backend["east"].Login.Password.Reveal(), "s3cret\n") // one newline only
	equal(t, "warnings", c.Warnings, nil)

	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	equal(t, "warnings", load().Warnings.Error(), dir+`/usher.toml:2:54: backend.east.login.password_file: `+
		`others can read or change "`+file+`" (mode 0644): chmod 600 "`+file+`"`)
}

func TestSecretFileMistakes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const remedy = ": put the secret there, readable for whoever starts usher"
	for _, c := range []struct{ login, want string }{
		{"password_file = 'none'", `2:17: backend.east.login.password_file: cannot read "DIR/none": no such file or directory` + remedy},
		{"password_file = 'empty'", `2:17: backend.east.login.password_file: "DIR/empty" is empty` + remedy},
		{"password_file = '.'", `2:17: backend.east.login.password_file: "DIR" is not a plain file` + remedy},
		{"password_file = 5", `2:17: backend.east.login.password_file: a whole number, not text: write it in quotes: "…"`},
		{"password_fil = 'x'", `2:1: backend.east.login.password_fil: unknown key: did you mean "password_file"?`},
		{"password = 'x'\npassword_file = 'y'", `3:1: backend.east.login.password_file: password is given too: keep one of the two`},
	} {
		_, err := Parse(dir+"/usher.toml", []byte("[backend.east.login]\n"+c.login), noEnv)
		equal(t, c.login, err.Error(), dir+"/usher.toml:"+strings.ReplaceAll(c.want, "DIR", dir))
	}
}

const full = `
[server]
state = "state"
hostname = "$${x}"
[tls]
cert = "a.pem"
[[tls.certificate]]
cert = "b.pem"
key = "b.key"
[[listen]]
protocol = "imap"
addr = [":143"]
[[listen]]
protocol = "pop3"
[[accounts]]
type = "some"
token = "TOPSECRET"
bind = { password = "TOPSECRET", user = "u" }
header = { Authorization = "TOPSECRET" }
url = ["postgres://u:TOPSECRET@h/db", "postgres://u:TOPSECRET/x@h/db", "ldap://h/dc=x?a?sub?(mail=x@y)"]
connect = "host=x PASSWORD=TOPSECRET"
[accounts.map]
host = "mailHost"
[[accounts]]
type = "any"
[backend.east]
addr = ["x"]
login = { as = "master", name = "m", password = "TOPSECRET" }
[backend.'a b']
timeout = "0s"
[[route]]
when = { network = "192.0.2.0/24", attr = { plan = "gold" } }
to = "east"
[limit]
idle_timeout = "1h0m30s"
`

func TestEffective(t *testing.T) {
	c := parse(t, full)
	text := c.Effective()
	if strings.Contains(text, "TOPSECRET") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	for _, want := range []string{"password = '***'", "ldap://h/dc=x?a?sub?(mail=x@y)", "postgres://u:***@h/db", "host = 'mailHost'", "idle_timeout = '1h0m30s'"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	again, err := Parse("/elsewhere/usher.toml", []byte(text), noEnv)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	equal(t, "the second time", again.Effective(), text)
	equal(t, "state", again.Server.State, "/etc/usher/state")
	equal(t, "hostname", again.Server.Hostname, "${x}")
	equal(t, "ignored", again.Ignored, nil)
}

func TestTheSecretOfSaltsIsNotShown(t *testing.T) {
	c, err := Parse("/etc/usher.toml", []byte("auth.scram_secret = 'hunter2'"), noEnv)
	if err != nil || strings.Contains(c.Effective(), "hunter2") || c.Auth.ScramSecret.Reveal() != "hunter2" {
		t.Errorf("%v, %s", err, c.Effective())
	}
}

func TestTheSecretsOfThePolicyServiceAreNotShown(t *testing.T) {
	c, err := Parse("/etc/usher.toml", []byte("[auth.policy]\napi_header = 'Authorization: Basic hunter2'\nhash_nonce = 'hunter2'"), noEnv)
	if err != nil || strings.Contains(c.Effective(), "hunter2") || c.Auth.Policy.HashNonce.Reveal() != "hunter2" {
		t.Errorf("%v, %s", err, c.Effective())
	}
}

func TestTheSecretOfTheProviderIsNotShown(t *testing.T) {
	c, err := Parse("/etc/usher.toml", []byte("auth.oauth2.client_secret = 'hunter2'"), noEnv)
	if err != nil || strings.Contains(c.Effective(), "hunter2") || c.Auth.OAuth2.ClientSecret.Reveal() != "hunter2" {
		t.Errorf("%v, %s", err, c.Effective())
	}
}

// Effective hides the secrets that it knows of: a new one needs a line there.
func TestEffectiveKnowsAllSecrets(t *testing.T) {
	equal(t, "secrets", secrets(reflect.TypeFor[Config](), ""), []string{".Backend.Login.Password", ".Auth.ScramSecret", ".Auth.OAuth2.ClientSecret", ".Auth.Policy.APIHeader", ".Auth.Policy.HashNonce"})
}

func secrets(typ reflect.Type, path string) []string {
	var found []string
	switch typ.Kind() {
	case reflect.Slice, reflect.Map:
		return secrets(typ.Elem(), path)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(typ) {
			if f.IsExported() {
				found = append(found, secrets(f.Type, path+"."+f.Name)...)
			}
		}
	}
	if typ == reflect.TypeFor[Secret]() {
		found = append(found, path)
	}
	return found
}

func TestEffectiveWithSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, []byte("TOPSECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := parse(t, "[backend.e.login]\npassword_file = '"+file+"'").Effective()
	equal(t, "password", parse(t, text).Backend["e"].Login.Password, "TOPSECRET")
	if strings.Contains(text, "TOPSECRET") {
		t.Errorf("a secret is shown:\n%s", text)
	}
}

func TestEffectiveDefault(t *testing.T) {
	text := Default().Effective()
	equal(t, "the second time", parse(t, text).Effective(), text)
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "usher.toml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("../../doc/examples/*.toml")
	if len(files) == 0 {
		t.Fatal("no examples")
	}
	for _, file := range files {
		if _, err := Load(file); err != nil {
			t.Error(err)
		}
	}
}

// A host of which nothing is said is verified and given up like any other.
func TestDefaultBackendIsSafe(t *testing.T) {
	b := DefaultBackend()
	if !b.Verify || b.ConnectTimeout <= 0 || b.Timeout <= 0 || b.TLS != "none" {
		t.Errorf("DefaultBackend = %+v", b)
	}
}
