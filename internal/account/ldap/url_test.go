package ldap

import (
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
)

// perdition is the URL as it stands in the book of Autistici/Inventati (5.2), with the
// continuations of perdition.conf.
const perdition = `ldap://127.0.0.1/ou=People,dc=infra,\
          dc=org,o=Anarchy?mail,host?sub?(&(mail=%s)\
          (status=active))`

func template(t *testing.T, text string) account.Template {
	t.Helper()
	parsed, err := account.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestURLs(t *testing.T) {
	t.Parallel()
	user := template(t, "(mail={user})")
	for text, want := range map[string][]location{
		perdition: {{
			scheme: "ldap", host: "127.0.0.1", addr: "127.0.0.1:389", base: template(t, "ou=People,dc=infra,dc=org,o=Anarchy"),
			attributes: []string{"mail", "host"}, scope: "sub", filter: template(t, "(&(mail={user})(status=active))"),
		}},
		"ldap://a":                        {{scheme: "ldap", host: "a", addr: "a:389"}},
		"LDAPS://a.example.org:1636/":     {{scheme: "ldaps", host: "a.example.org", addr: "a.example.org:1636"}},
		"ldap://[2001:db8::1]:390":        {{scheme: "ldap", host: "2001:db8::1", addr: "[2001:db8::1]:390"}},
		"ldap://[::1]/":                   {{scheme: "ldap", host: "::1", addr: "[::1]:389"}},
		"ldap:///o=x":                     {{scheme: "ldap", host: "localhost", addr: "localhost:389", base: template(t, "o=x")}},
		"ldapi://":                        {{scheme: "ldapi", addr: "/var/run/slapd/ldapi"}},
		"ldapi:///":                       {{scheme: "ldapi", addr: "/var/run/slapd/ldapi"}},
		"ldapi:///run/ldapi":              {{scheme: "ldapi", addr: "/run/ldapi"}},
		"ldapi://%2Frun%2Fldapi/o=x":      {{scheme: "ldapi", addr: "/run/ldapi", base: template(t, "o=x")}},
		"ldap://a\tldaps://b\n ldapi://":  {{scheme: "ldap", host: "a", addr: "a:389"}, {scheme: "ldaps", host: "b", addr: "b:636"}, {scheme: "ldapi", addr: "/var/run/slapd/ldapi"}},
		"ldap://a/ou=My%20People,o=x":     {{scheme: "ldap", host: "a", addr: "a:389", base: template(t, "ou=My People,o=x")}},
		"ldap://a/ou=My People,o=x":       {{scheme: "ldap", host: "a", addr: "a:389", base: template(t, "ou=My People,o=x")}},
		"ldap://a/o={domain}???(mail=%s)": {{scheme: "ldap", host: "a", addr: "a:389", base: template(t, "o={domain}"), filter: user}},
		"ldap://a/???(mail=%25s)":         {{scheme: "ldap", host: "a", addr: "a:389", filter: user}},
		"ldap://a/???(mail=%7Buser%7D)":   {{scheme: "ldap", host: "a", addr: "a:389", filter: user}},
		"ldap://a/???(mail=%u)":           {{scheme: "ldap", host: "a", addr: "a:389", filter: user}},
		"ldap://a/???mail=%s":             {{scheme: "ldap", host: "a", addr: "a:389", filter: user}},
		"ldap://a/???(cn=100%%s%3F)":      {{scheme: "ldap", host: "a", addr: "a:389", filter: template(t, "(cn=100%%s?)")}},
		"ldap://a/?,mailhost,?ONE":        {{scheme: "ldap", host: "a", addr: "a:389", attributes: []string{"", "mailhost", ""}, scope: "one"}},
		"ldap://a/?*":                     {{scheme: "ldap", host: "a", addr: "a:389"}},
		"ldap://a/????x-foo=1,1.2.3":      {{scheme: "ldap", host: "a", addr: "a:389"}}, // not critical: RFC 4516 §2
	} {
		var got urls
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, []location(got), cmp.AllowUnexported(location{})); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestURLsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "begins with ldap://",
		"ldap.example.org":       "begins with ldap://",
		"http://a":               "begins with ldap://",
		"x ldap://a":             "begins with ldap://",
		"ldap://a b":             "is no host",
		"ldap://a:0":             "is no port",
		"ldap://a:70000":         "is no port",
		"ldap://a:x":             "is no host",
		"ldap://a?b":             "is no host",
		"ldap://cn=x:hunter2@a/": "no place for a name and a password",
		"ldapi://run":            "is no path of a socket",
		"ldap://a/people":        "is no DN",
		"ldap://a/?a,b,c,d":      "only three count",
		"ldap://a/?a b":          "cannot be the name of an attribute",
		"ldap://a/??subtree":     "is no scope",
		"ldap://a/???(mail=%s":   "is no filter",
		"ldap://a/???(mail=%x)":  `"%x" is no variable`,
		"ldap://a/???(mail=%ff)": "no text",
		"ldap://a/???(cn=a?b)":   "write %3F",
		"ldap://a/???(cn=a?b?c)": "write %3F",
		"ldap://a/????!x-foo":    "the extension !x-foo is critical",
		"ldap://a/????BINDNAME=cn=x,X-BINDPW=hunter2": "use bind_dn and password_file",
	} {
		var got urls
		err := got.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v; want: %s", text, err, want)
		}
	}
}

// Whatever is taken for a URL names its server, and makes searches that no name changes.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		perdition, "ldap://a ldaps://[::1]:1/o=%20x?a,b,c?one?(cn=%s)?x=y", "ldapi:///run/x", "ldap://a/???(&(a=%25s)(b={user}))",
		"ldap://a/o={domain}?*", "ldap://\xe3p:!:", "ldapi:///run/i://", "ldap:///???(%u00!(=%s%u0000)", "ldap://[fe80::1%25eth0]", "ldap://[fe80::1%251%20]",
	} {
		f.Add(seed, "ann@example.org")
		f.Add(seed, "*)(a:=b,o=c+d")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		var got urls
		if err := got.UnmarshalText([]byte(text)); err != nil {
			return
		}
		for _, l := range got {
			if l.addr == "" || l.scheme != "ldapi" && l.host == "" {
				t.Fatalf("%q: no server in %+v", text, l)
			}
			var again urls
			if err := again.UnmarshalText([]byte(l.String())); err != nil || len(again) != 1 || again[0].addr != l.addr {
				t.Errorf("%q: its name %q is another server: %+v, %v", text, l, again, err)
			}
			q := sample()
			q.Name = "n" + name + "@d" + name // an empty value is another matter
			harmless(t, l, q)
		}
	})
}

// harmless fails if a name makes another search than any other.
func harmless(t *testing.T, l location, q account.Query) {
	t.Helper()
	if plain, err := ldap.CompileFilter(l.filter.Expand(sample(), ldap.EscapeFilter)); err == nil {
		other, err := ldap.CompileFilter(l.filter.Expand(q, ldap.EscapeFilter))
		if err == nil && !sameShape(plain, other) {
			t.Errorf("the name %q makes another filter of %v", q.Name, l.filter)
		}
	}
	if plain, err := ldap.ParseDN(l.base.Expand(sample(), ldap.EscapeDN)); err == nil {
		other, err := ldap.ParseDN(l.base.Expand(q, ldap.EscapeDN))
		if err == nil && len(plain.RDNs) != len(other.RDNs) {
			t.Errorf("the name %q makes another DN of %v", q.Name, l.base)
		}
	}
}

// sameShape tells whether two filters differ in their values only.
func sameShape(a, b *ber.Packet) bool {
	return a.Tag == b.Tag && len(a.Children) == len(b.Children) &&
		!slices.ContainsFunc(a.Children, func(c *ber.Packet) bool { return !sameShape(c, b.Children[slices.Index(a.Children, c)]) })
}
