package ldap

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// An attribute is the name of an attribute, perhaps with options (RFC 4512 §2.5).
type attribute string

var descriptions = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)

// UnmarshalText reads an attribute from a configuration.
func (a *attribute) UnmarshalText(text []byte) error {
	if !descriptions.Match(text) {
		return fmt.Errorf(`%.80q cannot be the name of an attribute, such as "mailHost"`, text)
	}
	*a = attribute(text)
	return nil
}

// A name is a distinguished name (RFC 4514) with variables.
type name account.Template

// UnmarshalText reads a DN from a configuration.
func (n *name) UnmarshalText(text []byte) error {
	t, err := account.ParseTemplate(string(text))
	if err != nil {
		return err
	}
	dn, err := ldap.ParseDN(t.Expand(sample(), ldap.EscapeDN))
	if err != nil || len(dn.RDNs) == 0 {
		return fmt.Errorf(`%.80q is no DN, such as "ou=people,dc=example,dc=org"`, text)
	}
	if !inValues(t, ",+;") {
		return fmt.Errorf(`%.80q: a variable may stand behind = only, as in "uid={name},ou=people,dc=example,dc=org"`, text)
	}
	*n = name(t)
	return nil
}

// A filter is a search filter (RFC 4515) with variables.
type filter account.Template

// UnmarshalText reads a filter from a configuration. One without parentheses gets them.
func (f *filter) UnmarshalText(text []byte) error {
	if len(text) > 0 && text[0] != '(' {
		text = fmt.Appendf(nil, "(%s)", text)
	}
	t, err := account.ParseTemplate(string(text))
	if err != nil {
		return err
	}
	if _, err := ldap.CompileFilter(t.Expand(sample(), ldap.EscapeFilter)); err != nil {
		return fmt.Errorf(`%.80q is no filter, such as "(&(mail={user})(status=active))": %w`, text, unwrap(err))
	}
	if !inValues(t, "()") {
		return fmt.Errorf(`%.80q: a variable may stand behind = only, as in "(mail={user})"`, text)
	}
	*f = filter(t)
	return nil
}

// inValues tells whether all variables stand in values: only there is a name escaped
// enough. A value begins with = and ends at one of the separators.
func inValues(t account.Template, separators string) bool {
	before := ""
	for _, p := range t {
		if p.Variable != "" && !strings.Contains(before[strings.LastIndexAny(before, separators)+1:], "=") {
			return false
		}
		before += escaped.ReplaceAllString(p.Text, "")
	}
	return true
}

var escaped = regexp.MustCompile(`\\.`)

// sample is a query in which every variable has a value.
func sample() account.Query {
	at := netip.MustParseAddrPort("127.0.0.1:143")
	return account.Query{Name: "ann@example.org", Protocol: "imap", Remote: at, Local: at, TLS: true, ServerName: "example.org"}
}
