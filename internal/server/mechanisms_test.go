package server

import (
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/admin"
	"usher/internal/auth"
	"usher/internal/login"
	"usher/internal/sasl"
)

const imapsOnly = "[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n[[listen]]\nprotocol = 'imap'\n"

func TestWhatIsNotNamedIsOfferedOnlyIfItWorksForAll(t *testing.T) {
	dir := certificate(t)
	for _, c := range []struct{ name, text, want string }{
		{"by default", imapsOnly, "PLAIN, LOGIN"},
		{"with certificates of clients", "[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\nclient_ca = 'cert.pem'\n[[listen]]\nprotocol = 'imap'\n", "EXTERNAL, PLAIN, LOGIN"},
		{"with tokens of clients", imapsOnly + "[auth.oauth2]\nissuer = 'https://login.example.org'\naudience = ['mail']\n", "OAUTHBEARER, XOAUTH2, PLAIN, LOGIN"},
		{"with tokens, for a service that wants passwords", imapsOnly + "[auth.oauth2]\nissuer = 'https://login.example.org'\naudience = ['mail']\n[[accounts]]\ntype = 'http'\nurl = 'http://127.0.0.1/'\n", "PLAIN, LOGIN"},
		{"with tokens, which are no masters'", imapsOnly + "[auth.oauth2]\nissuer = 'https://login.example.org'\naudience = ['mail']\n[[accounts]]\ntype = 'http'\nurl = 'http://127.0.0.1/'\n[[accounts]]\ntype = 'passwd'\npath = '/etc/passwd'\nmaster = true\n", "PLAIN, LOGIN"},
		{"as named", imapsOnly + "[auth]\nmechanisms = ['PLAIN', 'cram-md5', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS', 'APOP']\n", "PLAIN, CRAM-MD5, SCRAM-SHA-256, SCRAM-SHA-256-PLUS, APOP"},
	} {
		s := build(t, dir, c.text)
		if got := namesOf(s.house.Load().desk.Mechanisms); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

func TestKindsOfSourcesKnowWhatTheyCan(t *testing.T) {
	for _, c := range []struct {
		kind string
		m    sasl.Mechanism
		want bool
	}{
		{"sql", sasl.SCRAMSHA256, true},
		{"userdb", sasl.CRAMMD5, true},
		{"authdaemon", sasl.CRAMSHA256, true},
		{"authdaemon", sasl.APOP, true}, // by the clear password
		{"http", sasl.CRAMMD5, true},
		{"http", sasl.APOP, true},
		{"http", sasl.CRAMSHA1, false},
		{"http", sasl.SCRAMSHA1, false},
		{"any", sasl.CRAMMD5, false},
	} {
		if got := can(c.kind, c.m); got != c.want {
			t.Errorf("%s can %s: %v", c.kind, c.m.Name, got)
		}
	}
	if got := answersOf("sql"); got == nil || len(got) > 0 {
		t.Errorf("sql checks answers: %q", got)
	}
}

func TestListenersOfTLSKnowWhatMechanismsNeed(t *testing.T) {
	dir := certificate(t)
	terms := func(text string) login.Terms { return build(t, dir, text).house.Load().services[0].Terms }
	if clear := terms(imapOnly); clear.Certificates != nil || clear.Who != nil {
		t.Errorf("without TLS: %+v", clear)
	}
	plain := terms(imapsOnly)
	if plain.Who != nil || len(plain.Certificates()) != 1 || plain.TLS.ClientAuth != 0 {
		t.Errorf("with TLS: %+v", plain)
	}
	asking := terms("[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\nclient_ca = 'cert.pem'\n[[listen]]\nprotocol = 'imap'\n")
	if asking.Who == nil || asking.TLS.ClientAuth == 0 || asking.TLS.ClientCAs == nil {
		t.Errorf("with client_ca: %+v", asking)
	}
}

func TestNamesAreReadAsConfigured(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly+"default_domain = 'new.example'\n[auth]\nusername_case = 'lower'\nusername_translate = '%@'\nusername_chars = 'abcdefghijklmnopqrstuvwxyzA.@'\nstrip_domains = ['old.example']\n")
	h := s.house.Load()
	for written, want := range map[string]string{"Ann": "ann@new.example", "Ann%old.example": "ann@new.example", "ann@x": "ann@x", "ann+x": ""} {
		got, err := h.names.Canonical(written, "new.example")
		if (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q means %q, %v; want %q", written, got, err, want)
		}
		e, err := h.explain(t.Context(), admin.Riddle{User: written, Protocol: "imap"})
		if err != nil || want != "" && e.Name != want || want == "" && (e.Verdict != admin.Refused || !strings.Contains(e.Why, "username_chars")) {
			t.Errorf("explain %q: %+v, %v", written, e, err)
		}
	}
}

func TestTheSecretOfSaltsOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	salt := func(text string) string {
		s := build(t, dir, "[server]\nstate = 'state'\n"+imapOnly+"[auth]\nmechanisms = ['SCRAM-SHA-256']\n"+text)
		h := s.house.Load()
		h.auth = auth.New(account.Chain{}, "{PLAIN}x", 1)
		s.keepSalt(h)
		return string(h.auth.Salt)
	}
	first := salt("")
	if len(first) < leastSalt || salt("") != first {
		t.Errorf("%q, then %q", first, salt(""))
	}
	if got := salt("scram_secret = 'of all nodes'\n"); got != "of all nodes" {
		t.Errorf("the configured one is %q", got)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "state", "*")); len(files) != 1 || filepath.Base(files[0]) != saltFile {
		t.Errorf("there is %q", files)
	}
}
