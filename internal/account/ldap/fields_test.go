package ldap

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

func TestSeveralValues(t *testing.T) {
	t.Parallel()
	d := start(t, organisation+
		person("ann", "mailhost: imap2", "mailhost: imap1:143", "userPassword: old", "userPassword: {CRYPT}$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", "title: boss", "title: cook", "status: active")+
		person("bob", "port: 143", "port: 993")+
		person("cy", "mail: cyril@example.org"))
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nmap = { Host = 'MAILHOST', team = 'title', port = 'port', STATUS = 'status' }", d.Addr, people)
	rec, err := ask(t, s, "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	want := account.Fields{"host": "imap2,imap1:143", "password": "{PLAIN}old\n{CRYPT}$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", "team": "boss,cook", "status": "active"}
	if diff := cmp.Diff(want, rec.Fields); diff != "" {
		t.Error(diff)
	}
	_, err = lookup(t, s, "bob@example.org")
	wantError(t, err, `user "bob@example.org": entry "uid=bob,ou=people,dc=example,dc=org": field "port": attribute "port" has 2 values, but only one can be meant`)

	towards := source(t, "url = 'ldap://%s/%s?mail,mailhost?sub?(mail=%%s)'", d.Addr, people)
	for _, name := range []string{"cy@example.org", "cyril@example.org"} {
		if a, err := lookup(t, towards, name); err != nil || a.Place.User != name {
			t.Errorf("%s is %v, %v", name, a, err)
		}
	}
	other := source(t, "url = 'ldap://%s/%s?mail,mailhost?sub?(uid=%%s)'", d.Addr, people)
	_, err = lookup(t, other, "cy")
	wantError(t, err, `field "destuser": attribute "mail" has 2 values`)
}

func TestTwoEntriesForOneNameAreAnErrorThatNamesBoth(t *testing.T) {
	t.Parallel()
	d := start(t, organisation+person("ann", "mailhost: imap1")+person("anna", "mail: ann@example.org")+person("anne", "mail: ann@example.org"))
	for _, filter := range []string{"(&(mail={user})(!(uid=anne)))", "(mail={user})"} { // two, and more than two
		s := source(t, "url = 'ldap://%s'\nbase = '%s'\nfilter = '%s'", d.Addr, people, filter)
		_, err := lookup(t, s, "ann@example.org")
		for _, want := range []string{`user "ann@example.org"`, `"uid=ann,`, `"uid=anna,`} {
			wantError(t, err, want)
		}
		if h := s.Health(); h[0].Err != nil {
			t.Errorf("the server is blamed: %v", h[0].Err)
		}
	}
}

func TestValuesThatAreNoFields(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxValue+1)
	d := start(t, organisation+
		person("ann", "secretNote:: /w==")+
		person("bob", "description: "+long)+
		person("cy", "userPassword:: YQpi")+ // a, a line feed, b
		person("dan", "description: "+strings.Repeat(long, 5), "mailhost: imap1"))
	base := "url = 'ldap://%s'\nbase = '%s'\n"
	fields := source(t, base+"map = { host = 'secretNote', reason = 'description' }", d.Addr, people)
	attributes := source(t, base+"map = { note = 'secretNote', text = 'description' }", d.Addr, people)
	for name, want := range map[string]string{
		"ann@example.org": `field "host": attribute "secretNote" has a value of 1 bytes that is no text`,
		"bob@example.org": `field "reason": attribute "description" has a value of 65537 bytes that is no text (UTF-8), or too long`,
		"cy@example.org":  `field "password": attribute "userPassword" has a value with a line break`,
		"dan@example.org": "the answer is too large: more than 262144 bytes",
	} {
		_, err := lookup(t, fields, name)
		wantError(t, err, want)
		if h := fields.Health(); h[0].Err != nil { // a user could write that
			t.Fatalf("%s makes the server seem ill: %v", name, h[0].Err)
		}
	}
	for _, name := range []string{"ann@example.org", "bob@example.org"} {
		if a, err := lookup(t, attributes, name); err != nil || a.Attrs != nil {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

// Without a map, attributes that are called as account fields are taken for them.
func TestUsualAttributes(t *testing.T) {
	t.Parallel()
	for _, w := range usual() {
		if name := account.FieldName(w.field); w.means() == nothing {
			t.Errorf("%s is no account field", name)
		}
	}
	d := start(t, organisation+person("ann", "mailhost: imap1", "userPassword: secret", "nologin: y", "destuser: a.n.n"))
	rec, err := ask(t, source(t, "url = 'ldap://%s'\nbase = '%s'", d.Addr, people), "ann@example.org")
	want := account.Fields{"mailhost": "imap1", "password": "{PLAIN}secret", "nologin": "y", "destuser": "a.n.n"}
	if diff := cmp.Diff(want, rec.Fields); diff != "" || err != nil {
		t.Error(err, diff)
	}
	rec, err = ask(t, source(t, "url = 'ldap://%s'\nbase = '%s'\nbind = true", d.Addr, people), "ann@example.org")
	if rec.Fields["password"] != "" || err != nil {
		t.Errorf("a password is read that the directory checks: %v, %v", rec.Fields, err)
	}
}

func TestReferralsAreNotFollowed(t *testing.T) {
	t.Parallel()
	d := start(t, everybody+"dn: ou=abroad,"+people+"\nobjectClass: referral\nobjectClass: extensibleObject\nou: abroad\nref: ldap://192.0.2.1/ou=abroad,dc=example,dc=net\n\n")
	s := source(t, "url = 'ldap://%s'\nbase = '%s'", d.Addr, people)
	if a, err := lookup(t, s, "ann@example.org"); err != nil || a.Place.Hosts[0] != "imap1" {
		t.Errorf("somebody who is here: %v, %v", a, err)
	}
	if _, err := lookup(t, s, "cy@example.org"); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("somebody who may be elsewhere: %v", err)
	}
	for _, base := range []string{"ou=abroad," + people, "ou={name},ou=abroad," + people} {
		_, err := lookup(t, source(t, "url = 'ldap://%s'\nbase = '%s'", d.Addr, base), "ann@example.org")
		wantError(t, err, "referrals are not followed: put that one into url")
	}
}

func TestABaseThatIsNotThereIsAMistake(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = 'ou=poeple,dc=example,dc=org'", d.Addr)
	_, err := lookup(t, s, "ann@example.org")
	wantError(t, err, `base "ou=poeple,dc=example,dc=org" is not there`)
	if h := s.Health(); h[0].Err != nil {
		t.Errorf("the server is blamed: %v", h[0].Err)
	}
}

func TestAServerThatWantsToKnowWhoAsks(t *testing.T) {
	t.Parallel()
	d := start(t, everybody)
	s := source(t, "url = 'ldap://%s'\nbase = '%s'\nbind_dn = 'cn=usher,dc=example,dc=org'\npassword = 'hunter2'", d.Addr, people)
	for range 3 {
		_, err := lookup(t, s, "ann@example.org")
		wantError(t, err, `bind as "cn=usher,dc=example,dc=org": the server answers 49 "Invalid Credentials": correct bind_dn or its password`)
		if strings.Contains(err.Error(), "hunter2") {
			t.Error("the password is shown")
		}
	}
	s.servers.Each(func(_ string, one *server) {
		for range 3 {
			if err := probe(t.Context(), one); err == nil {
				t.Error("a server where we may not bind is well")
			}
		}
	})
	if n := strings.Count(d.LogText(), `BIND dn="cn=usher`); n != 1 {
		t.Errorf("a wrong password was tried %d times: the directory may lock the account", n)
	}
}
