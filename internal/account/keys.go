package account

import (
	"strings"

	"usher/internal/password"
)

// Stored are the passwords, as they are stored, by which can be checked what a client
// shows in place of its password: those that Proof has, and those that the source holds
// for answers to challenges only, of which the protocol's own come before those for all.
func (a *Account) Stored(protocol string) []string {
	var all []string
	if h, ok := a.Proof.(Hashed); ok {
		all = append(all, h.Hashes...)
	}
	for _, hash := range hmacs {
		for _, field := range []string{protocol + "-" + hash.field, hash.field} {
			if states := a.States[field]; states != "" {
				all = append(all, hash.scheme+states)
				break
			}
		}
	}
	return all
}

// hmacs are the fields of Courier's userdb(8) for CRAM. A protocol's name and a hyphen
// may stand before them.
var hmacs = []struct{ field, scheme string }{
	{"hmac-md5pw", "{HMAC-MD5}"},
	{"hmac-sha1pw", "{HMAC-SHA1}"},
	{"hmac-sha256pw", "{HMAC-SHA256}"},
}

// statesOf tells whether a field is one of these. A column's name may have underscores in
// place of hyphens.
func statesOf(name string) (field, scheme string, ok bool) {
	field = strings.ReplaceAll(name, "_", "-")
	for _, hash := range hmacs {
		if field == hash.field || strings.HasSuffix(field, "-"+hash.field) {
			return field, hash.scheme, true
		}
	}
	return "", "", false
}

// states takes them.
func (r *reader) states() map[string]string {
	var states map[string]string
	for name, value := range r.fields {
		field, scheme, ok := statesOf(name)
		if !ok {
			continue
		}
		if err := password.Check(scheme + value); err != nil {
			r.fail(name, err)
		}
		if states == nil {
			states = map[string]string{}
		}
		states[field] = value
		delete(r.fields, name)
	}
	return states
}

// Answered tells whether the source has found this answer to a challenge right.
func (a *Account) Answered(answer Answer) bool {
	p, ok := a.Proof.(answered)
	return ok && p.answer == answer
}
