package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// Each text has the mistakes that are listed after it, told in these words.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"syntax", "[server]\nuser = x\n", []string{
			`2:8: unexpected character U+0078 'x' at start of value: write key = value, one on a line, text in "quotes"`,
		}},
		{"syntax at the end", "[server]\nuser = ", []string{
			`2:7: expected value, not end of input: write key = value, one on a line, text in "quotes"`,
		}},
		{"a key twice", "[server]\nuser = 'a'\nuser = 'b'\n", []string{
			`3:1: key user is already defined: keep one of the two`,
		}},
		{"unknown key", "[server]\nstat = 'x'\n", []string{
			`2:1: server.stat: unknown key: did you mean "state"?`,
		}},
		{"unknown key near none", "[tls]\nfingerprints = 'x'\n", []string{
			`2:1: tls.fingerprints: unknown key: choose from cert, certificate, client_ca, crl, external_name, key, min_version`,
		}},
		{"unknown table", "[[listener]]\nprotocol = 'imap'\n", []string{
			`1:3: listener: unknown key: did you mean "listen"?`,
		}},
		{"unknown key in an inline table", "[[route]]\nto = 'x'\nwhen = { protocol = 'imap', users = 'x' }\n", []string{
			`3:29: route[0].when.users: unknown key: did you mean "user"?`,
		}},
		{"unknown dotted key", "server.users = 'x'\n", []string{
			`1:8: server.users: unknown key: did you mean "user"?`,
		}},
		{"unknown key with an odd name", "server.\"a\\nb c\" = 1\n", []string{
			`1:8: server."a\nb c": unknown key: choose from admin, grace, hostname, ident, log, own_names, relay, relay_process, retire, state, user`,
		}},
		{"word", "[[listen]]\nprotocol = 'imap'\ntls = 'startls'\n", []string{
			`3:7: listen[0].tls: "startls" is none of none, starttls, implicit: did you mean "starttls"?`,
		}},
		{"word near none", "[[listen]]\nprotocol = 'http'\ntls = ''\n", []string{
			`2:12: listen[0].protocol: "http" is none of imap, pop3: choose one of them`,
			`3:7: listen[0].tls: "" is none of none, starttls, implicit: choose one of them`,
		}},
		{"a slip in a word", "server.relay = 'gorutine'\n", []string{
			`1:16: server.relay: "gorutine" is none of epoll, goroutine: did you mean "goroutine"?`,
		}},
		{"not text", "server.user = 5\nserver.state = ['x']\n", []string{
			`1:15: server.user: a whole number, not text: write it in quotes: "…"`,
			`2:8: server.state: a list, not text: write it in quotes: "…"`,
		}},
		{"not true or false", "backend.east.verify = 'no'\n", []string{
			`1:23: backend.east.verify: text, not true or false: write true or false, without quotes`,
		}},
		{"not a number", "[limit]\nsessions_per_user = '5'\nlogins_per_address = 1.5\n", []string{
			`2:21: limit.sessions_per_user: text, not a whole number: write it like 50, without quotes`,
			`3:22: limit.logins_per_address: a number with a point, not a whole number: write it like 50, without quotes`,
		}},
		{"negative", "limit.sessions_per_user = -1\nlimit.idle_timeout = '-5m'\n", []string{
			`1:27: limit.sessions_per_user: -1 is negative: write 0 or more`,
			`2:22: limit.idle_timeout: a duration cannot be negative: write it in quotes, with a unit: "30s", "5m", "1h30m"`,
		}},
		{"not a duration", "limit.idle_timeout = 5\nlimit.login_timeout = '5'\nlimit.failure_delay = 07:32:00\n", []string{
			`1:22: limit.idle_timeout: a whole number, not a duration: write it in quotes, with a unit: "30s", "5m", "1h30m"`,
			`2:23: limit.login_timeout: "5" is not a duration: write it in quotes, with a unit: "30s", "5m", "1h30m"`,
			`3:23: limit.failure_delay: a date or time, not a duration: write it in quotes, with a unit: "30s", "5m", "1h30m"`,
		}},
		{"not a list", "backend.east.addr = 'x'\nbackend.west.addr = ['a', 5]\n", []string{
			`1:21: backend.east.addr: text, not a list: write it in brackets: addr = ["…", "…"]`,
			`2:27: backend.west.addr[1]: a whole number, not text: write it in quotes: "…"`,
		}},
		{"not a list of tables", "[listen]\nprotocol = 'imap'\n[accounts]\ntype = 'any'\n", []string{
			`1:2: listen: a table, not a list of tables: write it as [[listen]]`,
			`3:2: accounts: a table, not a list of tables: write it as [[accounts]]`,
		}},
		{"not a table", "server = 'x'\nbackend = { east = 'y' }\naccounts = [5]\n[[limit]]\n", []string{
			`1:10: server: text, not a table: write it as [server], or server = { … }`,
			`2:20: backend.east: text, not a table: write it as [backend.east], or east = { … }`,
			`3:13: accounts[0]: a whole number, not a table: write it as [[accounts]]`,
			`4:3: limit: a list of tables, not a table: write it as [limit], or limit = { … }`,
		}},
		{"missing", "[[listen]]\n[[route]]\n[[accounts]]\n[[tls.certificate]]\ncert = 'x'\n", []string{
			`1:3: listen[0].protocol: is missing: add protocol = … with one of imap, pop3`,
			`2:3: route[0].to: is missing: add to = "…"`,
			`3:3: accounts[0].type: is missing: add type = "…"`,
			`4:7: tls.certificate[0].key: is missing: add key = "…"`,
		}},
		{"environment", "server.user = '${NONE}'\nserver.hostname = 'a${HOST'\nserver.log = '${LOG}'\n[[accounts]]\ntype = 'x'\nurl = ['${NONE}']\n", []string{
			`1:15: server.user: the environment has no variable "NONE": set it, or write ${NAME:-default}, or $${ for a plain ${`,
			`2:19: server.hostname: ${ without a closing }: add the }, or write $${ for a plain ${`,
			`3:14: server.log: the environment has no variable "LOG": set it, or write ${NAME:-default}, or $${ for a plain ${`,
			`6:8: accounts[0].url[0]: the environment has no variable "NONE": set it, or write ${NAME:-default}, or $${ for a plain ${`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.text, c.want) })
	}
}

// What the contract with users has and this version has not is told as such.
func TestLaterMistakes(t *testing.T) {
	text, err := os.ReadFile("testdata/later.toml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if _, said, ok := strings.Cut(line, "#= "); ok {
			want = append(want, strings.TrimSpace(said))
		}
	}
	check(t, string(text), want)
}

func check(t *testing.T, text string, want []string) {
	t.Helper()
	_, err := Parse("usher.toml", []byte(text), env)
	if err == nil {
		t.Fatal("no mistake was found")
	}
	got := strings.ReplaceAll(err.Error(), "usher.toml:", "")
	if got != strings.Join(want, "\n") {
		t.Errorf("mistakes are\n%s\nnot\n%s", got, strings.Join(want, "\n"))
	}
	if m, ok := errors.AsType[Mistake](err); !ok || m.File != "usher.toml" || m.Remedy == "" {
		t.Errorf("the first mistake is %#v", m)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"addr", "imap", "tls", "verify", "connect_timeout"}
	for word, want := range map[string]string{
		"adrr": "addr", "adr": "addr", "TLS": "tls", "tsl": "", "verfiy": "verify", "conect-timeout": "connect_timeout",
		"": "", "xyz": "", "pop3": "",
	} {
		equal(t, word, nearest(word, known), want)
	}
}

// Whatever the text: no panic, every mistake has its place in the file and its
// line in the report, and what can be loaded can be shown and loaded again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{full, "server.user = '${NONE}'", "[a.b]\n[[a.b.c]]\n[a.b.c.d]", "a=[[{b=1}]]", "\"\" = 1", "x = '''\n${\n'''\r\n"} {
		f.Add(text)
	}
	if text, err := os.ReadFile("testdata/later.toml"); err == nil {
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") {
			t.Skip("would read files of this machine")
		}
		c, err := Parse("usher.toml", []byte(text), env)
		if err != nil {
			checkPlaces(t, text, err)
			return
		}
		shown := c.Effective()
		if _, err := Parse("usher.toml", []byte(shown), env); err != nil {
			t.Errorf("the effective configuration is wrong: %v\n%s", err, shown)
		}
	})
}

func checkPlaces(t *testing.T, text string, err error) {
	lines := strings.Split(text, "\n")
	for _, m := range err.(Mistakes) {
		if m.Line < 1 || m.Line > len(lines) || m.Column < 1 || m.Column > len(lines[m.Line-1])+1 {
			t.Errorf("mistake outside of the file: %v", m)
		}
		if m.What == "" || m.Remedy == "" || strings.Contains(m.Error(), "\n") {
			t.Errorf("mistake is badly told: %q", m.Error())
		}
	}
}
