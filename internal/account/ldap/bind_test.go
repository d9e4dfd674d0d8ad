package ldap

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
	"usher/internal/slapd"
)

// check looks a name up and tries a password.
func check(t *testing.T, s *Source, name, password string) error {
	t.Helper()
	a, err := lookup(t, s, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return a.Proof.Check(t.Context(), password)
}

func TestTheDirectoryChecksPasswords(t *testing.T) {
	t.Parallel()
	d := start(t, everybody+person("cy"))
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nbind = true", d.Addr, people)
	a, err := lookup(t, s, "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if id := a.Proof.Identity(); id != "uid=ann,ou=people,dc=example,dc=org" {
		t.Errorf("it is decided by %q", id)
	}
	before := accepted(d)
	for range 20 {
		if err := a.Proof.Check(t.Context(), "secret"); err != nil {
			t.Fatal(err)
		}
		if err := a.Proof.Check(t.Context(), "secret "); !errors.Is(err, account.ErrRefused) {
			t.Fatal(err)
		}
	}
	if n := accepted(d) - before; n != 1 {
		t.Errorf("40 binds took %d connections", n)
	}
	binds := strings.Count(d.LogText(), " BIND ")
	if err := a.Proof.Check(t.Context(), ""); !errors.Is(err, account.ErrRefused) || strings.Count(d.LogText(), " BIND ") != binds {
		t.Errorf("no password: %v; it must not be asked for", err)
	}
	if err := check(t, s, "cy@example.org", "x"); !errors.Is(err, account.ErrRefused) {
		t.Errorf("an entry without a password: %v", err)
	}
	d.Modify("dn: uid=ann,ou=people,dc=example,dc=org\nchangetype: delete\n")
	if err := a.Proof.Check(t.Context(), "secret"); !errors.Is(err, account.ErrRefused) {
		t.Errorf("an entry that is gone: %v", err)
	}
	nameless := bound{source: s}
	wantError(t, nameless.Check(t.Context(), "secret"), "without a DN")
}

// The service need not see anything if the DN follows from the name.
func TestBindTemplateWithoutTheRightToRead(t *testing.T) {
	t.Parallel()
	for access, known := range map[string]bool{ // whether the service learns that somebody is not there
		"access to * by anonymous auth by users read":                                         true,
		"access to attrs=userPassword by anonymous auth\naccess to * by users read by * none": false,
	} {
		d := slapd.Start(t, slapd.Options{LDIF: everybody, Access: access})
		const template = "url = 'ldap://%s'\nbind_template = 'uid={name},ou=people,dc=example,dc=org'\n"
		s := source(t, template, d.Addr)
		if err := check(t, s, "ann@example.org", "secret"); err != nil {
			t.Errorf("%s: %v", access, err)
		}
		if err := check(t, s, "ann@example.org", "wrong"); !errors.Is(err, account.ErrRefused) {
			t.Errorf("%s: %v", access, err)
		}
		a, err := lookup(t, s, "nobody@example.org")
		if known != errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: nobody is %v, %v", access, a, err)
		}
		if err == nil && !errors.Is(a.Proof.Check(t.Context(), "x"), account.ErrRefused) {
			t.Errorf("%s: nobody is let in", access)
		}
		if a, err := lookup(t, source(t, template+"filter = '(status=active)'", d.Addr), "ann@example.org"); err == nil {
			t.Errorf("%s: a filter that cannot be looked at lets in: %v", access, a)
		}
	}
}

func TestBindTemplateReadsWhatItMay(t *testing.T) {
	t.Parallel()
	d := start(t, everybody+person("cy", "userPassword: x", "status: active"))
	s := source(t, "url = 'ldap://%s'\nbind_template = 'uid={name},ou=people,dc=example,dc=org'", d.Addr)
	if a, err := lookup(t, s, "ann@example.org"); err != nil || a.Place.Hosts[0] != "imap1" {
		t.Errorf("%v, %v", a, err)
	}
	for _, name := range []string{"nobody@example.org", "ann,ou=people@example.org", "ann+cn=ann@example.org", "@example.org"} {
		if _, err := lookup(t, s, name); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	strict := source(t, "url = 'ldap://%s'\nbind_template = 'uid={name},ou=people,dc=example,dc=org'\nfilter = '(status=active)'", d.Addr)
	if err := check(t, strict, "cy", "x"); err != nil {
		t.Error(err)
	}
	if _, err := lookup(t, strict, "ann"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("somebody whom the filter does not have: %v", err)
	}
}

// What other directories say than OpenLDAP.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	windows := func(data string) string {
		return "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data " + data + ", v3839\x00"
	}
	const refused, final, trouble = "refused", "final", "trouble"
	for _, c := range []struct {
		code       uint16
		text       string
		kind, want string
	}{
		{49, "", refused, "wrong password"},
		{49, windows("52e"), refused, "wrong password"},
		{49, windows("532"), refused, "the password has expired (data 532)"},
		{49, windows("533"), refused, "the account is disabled (data 533)"},
		{49, windows("773"), refused, "the password must be changed first (data 773)"},
		{49, windows("775"), refused, "the account is locked (data 775)"},
		{48, "", refused, `the server answers 48`},
		{32, "", refused, `the server answers 32`},
		{19, "Exceed password retry limit. Please try later.", refused, `the server answers 19, "Exceed password retry limit. Please try later."`},
		{53, "Account inactivated.", final, `53 "Unwilling To Perform", "Account inactivated."`},
		{13, "", final, "use ldaps://, or starttls = true"},
		{8, "", final, "use ldaps://, or starttls = true"},
		{34, "", final, "bind_template"},
		{10, "", final, "referrals are not followed"},
		{1, "", trouble, "1"},
		{51, "", trouble, `51 "Busy"`},
		{52, "", trouble, `52 "Unavailable"`},
		{80, "", trouble, "80"},
		{53, strings.Repeat("\x1b[2J", 100), final, `\x1b[2J`},
	} {
		err := bound{dn: "cn=x"}.verdict(&ldap.Error{ResultCode: c.code, Err: errors.New(c.text)})
		kind := trouble
		switch {
		case errors.Is(err, account.ErrRefused):
			kind = refused
		case strings.HasPrefix(strings.TrimPrefix(typeName(err), "account."), "final"):
			kind = final
		}
		if kind != c.kind || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%d %q is %s: %v; want %s: %s", c.code, c.text, kind, err, c.kind, c.want)
		}
	}
}
