package ldap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// A question is what a server is asked about a name.
type question struct {
	base   account.Template
	scope  int
	filter account.Template
	known  bool // base is the entry itself, …
	strict bool // … which must fit the filter
	wanted []wanted
	limit  int // seconds that the server may take; 0: as it likes
}

// about is the search for a name: two entries are one too many, so that no more need
// to come. It is ErrUnknown if the name cannot be anybody's.
func (k question) about(q account.Query) (*ldap.SearchRequest, error) {
	base, err := expandDN(k.base, q)
	if err != nil || slices.ContainsFunc(k.filter, func(p account.Part) bool {
		return (p.Variable == account.VarUser || p.Variable == account.VarName) && p.Value(q) == ""
	}) {
		return nil, account.ErrUnknown
	}
	filter := k.filter.Expand(q, ldap.EscapeFilter)
	if _, err := ldap.CompileFilter(filter); err != nil {
		return nil, account.Final(fmt.Errorf("filter %.200q: %w", filter, unwrap(err)))
	}
	return &ldap.SearchRequest{
		BaseDN: base, Scope: k.scope, Filter: filter, Attributes: k.attributes(),
		DerefAliases: ldap.NeverDerefAliases, SizeLimit: 2, EnforceSizeLimit: true, TimeLimit: k.limit,
	}, nil
}

// expandDN writes a DN. None has a part without a value.
func expandDN(t account.Template, q account.Query) (string, error) {
	if slices.ContainsFunc(t, func(p account.Part) bool { return p.Variable != "" && p.Value(q) == "" }) {
		return "", account.ErrUnknown
	}
	return t.Expand(q, ldap.EscapeDN), nil
}

// attributes are the names of those that are wanted, each once.
func (k question) attributes() (list []string) {
	for _, w := range k.wanted {
		if !slices.ContainsFunc(list, func(a string) bool { return strings.EqualFold(a, w.attribute) }) {
			list = append(list, w.attribute)
		}
	}
	return list
}

// uses is what of a query the search depends on.
func (k question) uses() account.Uses { return k.base.Uses() | k.filter.Uses() }

// varies tells whether each name has a base of its own.
func (k question) varies() bool {
	return slices.ContainsFunc(k.base, func(p account.Part) bool { return p.Variable != "" })
}

// text is a search as "usher explain" shows it.
func text(r *ldap.SearchRequest) string {
	words := [...]string{ldap.ScopeBaseObject: "base", ldap.ScopeSingleLevel: "one", ldap.ScopeWholeSubtree: "sub"}
	return fmt.Sprintf("%s %s %s %s", r.BaseDN, words[r.Scope], r.Filter, strings.Join(r.Attributes, ","))
}

// only is the one entry that a search has found. err is what the server answered, or
// why it did not.
func (k question) only(r *ldap.SearchRequest, found *ldap.SearchResult, err error) (*ldap.Entry, error) {
	code, answered := result(err)
	switch {
	case found != nil && len(found.Entries) > 1:
		return nil, account.Final(fmt.Errorf("two entries are found by %s: %.80q and %.80q; make the filter narrower, or correct one of them", r.Filter, found.Entries[0].DN, found.Entries[1].DN))
	case errors.Is(err, errTooLarge): // it is this entry, not the server
		return nil, account.Final(err)
	case !answered:
		return nil, err
	case code == ldap.LDAPResultSuccess && len(found.Entries) == 1:
		return found.Entries[0], nil
	case k.known && !k.strict && k.hidden(code, err):
		return &ldap.Entry{DN: r.BaseDN}, nil
	case code == ldap.LDAPResultSuccess, code == ldap.LDAPResultNoSuchObject && k.varies():
		return nil, account.ErrUnknown
	case code == ldap.LDAPResultNoSuchObject:
		return nil, account.Final(fmt.Errorf("base %q is not there, or whom bind_dn names may not see it (%s)", r.BaseDN, explain(err)))
	}
	err = fmt.Errorf("search below %q: %s", r.BaseDN, explain(err))
	if isTrouble(code) || code == ldap.LDAPResultUnwillingToPerform {
		return nil, err
	}
	return nil, account.Final(err)
}

// hidden tells whether an entry may be there that we cannot read. A server that would show
// it says of one that is not there how much of its name exists (RFC 4511 §4.1.9).
func (k question) hidden(code uint16, err error) bool {
	switch code {
	case ldap.LDAPResultSuccess, ldap.LDAPResultOperationsError, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInsufficientAccessRights:
		return true
	case ldap.LDAPResultNoSuchObject:
		var e *ldap.Error
		return errors.As(err, &e) && e.MatchedDN == ""
	}
	return false
}
