package account

import (
	"maps"
	"slices"
	"strings"

	"usher/internal/password"
)

// Passport are the fields by which another node of the pool serves an account: what
// programs must know, and where its owner may come from. None of them is a secret:
// neither those that Starred hides, nor what only looks like a hash.
func (a *Account) Passport() Fields {
	f := make(Fields, len(a.Attrs)+2)
	for name, value := range a.Attrs {
		if value != "" && !isSecret(name) && !looksHashed(value) {
			f[name] = value
		}
	}
	maps.DeleteFunc(f, func(name, _ string) bool { return slices.Contains(Known, name) }) // it could be taken for more than an attribute
	if a.Place.User != "" {
		f["destuser"] = a.Place.User
	}
	if nets := a.Access.nets(); nets != "" {
		f["allow_nets"] = nets
	}
	return f
}

// FromPassport makes an account of what another node says of it. That node has asked
// the source and checked the password: nobody asks again.
func FromPassport(name, node string, f Fields) (*Account, error) {
	given := maps.Clone(f)
	maps.DeleteFunc(given, func(name, _ string) bool {
		return isSecret(name) || slices.Contains(Known, FieldName(name)) && name != "destuser" && name != "allow_nets"
	})
	a, err := given.Account(name)
	if err != nil {
		return nil, err
	}
	a.Source = "node " + node
	return a, nil
}

// looksHashed tells whether a value has the form of a stored password, whatever it is
// called: {SCHEME}…, or crypt(3)'s $id$….
func looksHashed(value string) bool {
	if scheme, _, ok := strings.Cut(value, "}"); ok && len(scheme) > 1 && scheme[0] == '{' {
		return isScheme(scheme[1:])
	}
	return len(value) > 3 && value[0] == '$' && strings.Contains(value[1:], "$")
}

// isScheme tells whether a word is the name of a scheme, or could be that of one which
// usher does not have. Those that it has match in any case of letters: LDAP servers
// write {crypt}.
func isScheme(word string) bool {
	name, _, _ := strings.Cut(word, ".") // behind it stands how the rest is written
	if slices.ContainsFunc(password.Schemes(), func(s string) bool { return strings.EqualFold(s, name) }) {
		return true
	}
	return !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// nets is allow_nets as a field.
func (x Access) nets() string {
	var list []string
	if x.Local {
		list = append(list, "local")
	}
	for _, p := range x.Nets {
		list = append(list, p.String())
	}
	return strings.Join(list, ",")
}
