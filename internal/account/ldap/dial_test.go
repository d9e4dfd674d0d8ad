package ldap

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"usher/internal/account"
	"usher/internal/dovecot"
	"usher/internal/slapd"
)

func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	d := slapd.Start(t, slapd.Options{LDIF: everybody, TLSNames: []string{"127.0.0.1", "ldap.example.org"}})
	other := slapd.Start(t, slapd.Options{LDIF: everybody, TLSNames: []string{"ldap.example.org"}})
	keys := "base = '" + people + "'\nbind_dn = 'cn=usher,dc=example,dc=org'\npassword = \"the service's\"\nca = '%s'\n"
	for name, c := range map[string]struct {
		url, ca, want string
	}{
		"ldaps":                {"ldaps://" + d.TLSAddr, d.CA, ""},
		"StartTLS":             {"ldap://" + d.Addr, d.CA, ""},
		"ldaps, other CA":      {"ldaps://" + d.TLSAddr, other.CA, "name the file with the certificate of its CA in ca"},
		"StartTLS, other CA":   {"ldap://" + d.Addr, other.CA, "name the file with the certificate of its CA in ca"},
		"ldaps, other name":    {"ldaps://" + other.TLSAddr, other.CA, "write into url a name that its certificate has"},
		"StartTLS, other name": {"ldap://" + other.Addr, other.CA, "write into url a name that its certificate has"},
		"ldaps to ldap":        {"ldaps://" + d.Addr, d.CA, "TLS:"},
	} {
		s := source(t, "url = '%s'\nstarttls = %v\n"+keys, c.url, strings.HasPrefix(c.url, "ldap:"), c.ca)
		_, err := lookup(t, s, "ann@example.org")
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.want != "" {
			wantError(t, err, c.want)
		}
	}
	if strings.Contains(other.LogText(), "cn=usher,") || strings.Contains(other.LogText(), " SRCH ") {
		t.Error("somebody with another certificate has heard something")
	}
}

func TestAServerWithoutStartTLSHearsNoPassword(t *testing.T) {
	t.Parallel()
	refusal := sequence(0x30, []byte{0x02, 0x01, 0x01}, sequence(0x78, []byte{0x0a, 0x01, 0x02}, []byte{0x04, 0x00}, []byte{0x04, 0x00}))
	heard := make(chan []byte, 100)
	addr := odd(t, refusal, nil, heard)
	s := source(t, "url = 'ldap://%s'\nstarttls = true\nbase = 'o=x'\nbind_dn = 'cn=x'\npassword = 'hunter2'", addr)
	_, err := lookup(t, s, "ann")
	wantError(t, err, `StartTLS: the server answers 2 "Protocol Error"`)
	for range len(heard) {
		if strings.Contains(string(<-heard), "hunter2") {
			t.Error("the password was sent")
		}
	}
}

// guarded shows passwords to the service only.
const guarded = `access to attrs=userPassword by dn.exact="cn=usher,dc=example,dc=org" read by anonymous auth
access to * by * read`

func TestSASLExternal(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "usher.example.org")
	d := slapd.Start(t, slapd.Options{
		LDIF: everybody, Access: guarded, ClientCA: ca,
		Extra: fmt.Sprintf("authz-regexp \"^cn=usher[.]example[.]org$\" \"cn=usher,dc=example,dc=org\"\n"+
			"authz-regexp \"^gidNumber=[0-9]+[+]uidNumber=%d,cn=peercred,cn=external,cn=auth$\" \"cn=usher,dc=example,dc=org\"\n", os.Geteuid()),
	})
	for name, c := range map[string]struct {
		keys  string
		known bool
	}{
		"nobody":               {"url = '" + d.SocketURL() + "'", false},
		"socket":               {"url = '" + d.SocketURL() + "'\nsasl = 'external'", true},
		"socket as a path":     {"url = 'ldapi://" + d.Socket + "'\nsasl = 'external'", true},
		"certificate":          {fmt.Sprintf("url = 'ldaps://%s'\nca = '%s'\ncert = '%s'\nkey = '%s'\nsasl = 'external'", d.TLSAddr, d.CA, cert, key), true},
		"certificate, later":   {fmt.Sprintf("url = 'ldap://%s'\nstarttls = true\nca = '%s'\ncert = '%s'\nkey = '%s'\nsasl = 'external'", d.Addr, d.CA, cert, key), true},
		"certificate, nobody":  {fmt.Sprintf("url = 'ldaps://%s'\nca = '%s'\ncert = '%s'\nkey = '%s'", d.TLSAddr, d.CA, cert, key), false},
		"both kinds of server": {fmt.Sprintf("url = ['ldaps://%s', '%s']\nca = '%s'\ncert = '%s'\nkey = '%s'\nsasl = 'external'", d.TLSAddr, d.SocketURL(), d.CA, cert, key), true},
	} {
		a, err := lookup(t, source(t, "base = '%s'\n%s", people, c.keys), "ann@example.org")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if (a.Proof != nil) != c.known {
			t.Errorf("%s: the password is read: %v", name, a.Proof != nil)
		}
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := source(t, "url = 'ldapi:///nowhere/ldapi ldap://127.0.0.1:1'\nbase = 'o=x'\nbind = true")
	for range 2 {
		_, err := lookup(t, s, "ann")
		wantError(t, err, "ldapi://%2Fnowhere%2Fldapi: ")
		wantError(t, err, "no such file or directory")
		wantError(t, err, "ldap://127.0.0.1:1: ")
		wantError(t, err, "connection refused")
	}
	if err := (bound{s, "cn=ann,o=x"}).Check(t.Context(), "x"); err == nil || errors.Is(err, account.ErrRefused) {
		t.Errorf("a password that nobody has checked: %v", err)
	}
}
