package ldap

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
	"usher/internal/slapd"
)

// Courier: LDAP_AUXOPTIONS<TAB>mailhost=mailhost makes the attribute mailhost an option.
func TestCouriersAuxoptionsMailhost(t *testing.T) { // P000-6
	t.Parallel()
	d := start(t, everybody)
	for _, more := range []string{"", "map = { mailhost = 'mailhost' }", "map = { host = 'mailHost' }"} {
		s := source(t, "url = 'ldap://%s'\nbase = '%s'\n%s", d.Addr, people, more)
		for name, host := range map[string]string{"ann@example.org": "imap1", "bob@example.org": "imap2"} {
			a, err := lookup(t, s, name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{host}, a.Place.Hosts); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// anarchy is the directory of the book: users with a host, active or not.
const anarchy = `dn: o=Anarchy
objectClass: organization
o: Anarchy

dn: dc=org,o=Anarchy
objectClass: domain
dc: org

dn: dc=infra,dc=org,o=Anarchy
objectClass: domain
dc: infra

dn: ou=People,dc=infra,dc=org,o=Anarchy
objectClass: organizationalUnit
ou: People

dn: mail=ann@autistici.org,ou=People,dc=infra,dc=org,o=Anarchy
objectClass: inetOrgPerson
objectClass: mailUser
cn: ann
sn: ann
mail: ann@autistici.org
host: contumacia
status: active

dn: mail=bob@autistici.org,ou=People,dc=infra,dc=org,o=Anarchy
objectClass: inetOrgPerson
objectClass: mailUser
cn: bob
sn: bob
mail: bob@autistici.org
host: contumacia
status: suspended
`

// perditions opens what the URL of the book leads to.
func perditions(t *testing.T) (*slapd.Server, *Source) {
	t.Helper()
	d := slapd.Start(t, slapd.Options{LDIF: anarchy, Suffix: "o=Anarchy"})
	return d, source(t, "url = '''%s'''", strings.Replace(perdition, "127.0.0.1", d.Addr, 1))
}

func TestPerditionsURLFindsNameAndHostOfActiveUsers(t *testing.T) { // P004-4
	t.Parallel()
	_, s := perditions(t)
	a, err := lookup(t, s, "ann@autistici.org")
	if err != nil {
		t.Fatal(err)
	}
	if a.Place.User != "ann@autistici.org" || a.Place.Hosts[0] != "contumacia" || a.Proof != nil {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{"bob@autistici.org", "nobody@autistici.org", "*", "bob@autistici.org)(status=suspended", "*)(status=*", `bob@autistici.org\29`} {
		if a, err := lookup(t, s, name); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestTheHostOfPerditionsURLIsRewritten(t *testing.T) { // P004-1, P004-5, P004-7
	t.Parallel()
	d, s := perditions(t)
	vpn, err := account.ParseFieldTemplate("{host}-vpn:10143")
	if err != nil {
		t.Fatal(err)
	}
	r := &account.Reader{Name: "ldap", Source: s, Set: map[string]account.Template{"host": vpn}}
	is := func(want string) {
		t.Helper()
		a, err := r.Lookup(t.Context(), account.Query{Name: "ann@autistici.org"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, a.Place.Hosts); diff != "" {
			t.Error(diff)
		}
	}
	is("contumacia-vpn:10143")
	d.Modify("dn: mail=ann@autistici.org,ou=People,dc=infra,dc=org,o=Anarchy\nchangetype: modify\nreplace: host\nhost: latitanza\n")
	is("latitanza-vpn:10143") // a mailbox moves as its host is changed
}
