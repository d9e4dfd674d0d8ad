// Package ldap keeps accounts in a directory that speaks LDAP (RFC 4511).
//
// Read Source.Ask first: it makes a search of a question (question.go), sends it on a
// connection of a pool (pool.go), and makes fields of the entry (fields.go). Whether a
// password is right says a hash in the entry, or a bind as the entry (bind.go). What a
// result code means stands in result.go, what a server may send at all in gate.go.
//
// Referrals are not followed: a server could lead the password of bind_dn, or a user's,
// anywhere.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "ldap".
type settings struct {
	URL          []urls               `toml:"url" as:"list" required:"yes"`
	StartTLS     bool                 `toml:"starttls"`
	CA           string               `toml:"ca" as:"path"`
	Cert         string               `toml:"cert" as:"path"`
	Key          string               `toml:"key" as:"path"`
	SASL         string               `toml:"sasl" oneof:"external"`
	BindDN       string               `toml:"bind_dn"`
	Password     string               `toml:"password" as:"secret"`
	Base         name                 `toml:"base"`
	Scope        string               `toml:"scope" default:"sub" oneof:"sub one base"`
	Filter       filter               `toml:"filter"` // nil: (mail={user})
	Bind         bool                 `toml:"bind"`
	BindTemplate name                 `toml:"bind_template"`
	Map          map[string]attribute `toml:"map"`
	Pool         int                  `toml:"pool" default:"8"`
	Timeout      time.Duration        `toml:"timeout" default:"5s"`
}

// Driver is the account.Driver of type "ldap".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	s.Bind = s.Bind || s.BindTemplate != nil
	if err := s.check(); err != nil {
		return nil, err
	}
	return func(_ context.Context, at account.Site) (account.Source, error) { return s.open(at) }, nil
}

// servers are those of url, in order.
func (s *settings) servers() (list []location) {
	for _, u := range s.URL {
		list = append(list, u...)
	}
	return list
}

// check finds keys that do not go together.
func (s *settings) check() error {
	external := s.SASL != ""
	has := func(what func(location) bool) bool { return slices.ContainsFunc(s.servers(), what) }
	encrypted := func(l location) bool { return l.scheme == "ldaps" || l.scheme == "ldap" && s.StartTLS }
	switch {
	case len(s.servers()) == 0:
		return errors.New("url has no server: write it such as ldap://ldap.example.org")
	case s.StartTLS && !has(func(l location) bool { return l.scheme == "ldap" }):
		return errors.New("starttls is for ldap://: ldaps:// is TLS from the first byte, ldapi:// needs none")
	case (s.CA != "" || s.Cert != "") && !has(encrypted):
		return errors.New("ca, cert and key are for TLS: use ldaps://, or add starttls = true")
	case (s.Cert == "") != (s.Key == ""):
		return errors.New("cert and key go together: add the other one")
	case external && (s.BindDN != "" || s.Password != ""):
		return errors.New(`sasl = "external" takes the name from the socket or the certificate: leave out bind_dn and password`)
	case external && s.Cert == "" && has(func(l location) bool { return l.scheme != "ldapi" }):
		return errors.New(`sasl = "external" needs cert and key, or ldapi://`)
	case (s.BindDN == "") != (s.Password == ""):
		return errors.New("bind_dn and password (or password_file) go together: add the other one")
	}
	return s.checkSearch()
}

// checkSearch finds searches that could not work.
func (s *settings) checkSearch() error {
	for _, l := range s.servers() {
		if s.Base == nil && l.base == nil && s.BindTemplate == nil {
			return fmt.Errorf(`base is missing: say below which entry %s has the accounts, such as base = "ou=people,dc=example,dc=org"`, l)
		}
	}
	for field := range s.Map {
		if s.Bind && account.FieldName(field) == "password" {
			return errors.New("map has a password, but bind lets the directory check it: leave one of the two out")
		}
	}
	return nil
}

// question is what a server is asked. What its URL says of the search wins over the
// keys.
func (s *settings) question(l location) question {
	k := question{
		base: account.Template(s.Base), filter: account.Template(s.Filter), scope: scopes[s.Scope],
		wanted: s.wanted(l), limit: int((s.Timeout + time.Second - 1) / time.Second),
	}
	if l.base != nil {
		k.base = l.base
	}
	if l.filter != nil {
		k.filter = l.filter
	}
	if l.scope != "" {
		k.scope = scopes[l.scope]
	}
	if s.BindTemplate != nil {
		k.base, k.scope, k.known, k.strict = account.Template(s.BindTemplate), ldap.ScopeBaseObject, true, k.filter != nil
	}
	switch {
	case k.filter == nil && k.known:
		k.filter = account.Template{{Text: "(objectClass=*)"}}
	case k.filter == nil:
		k.filter = account.Template{{Text: "(mail="}, {Variable: account.VarUser}, {Text: ")"}}
	}
	return k
}

// wanted are the fields that a server is asked for, and where they stand.
func (s *settings) wanted(l location) (list []wanted) {
	for i, a := range l.attributes {
		if a != "" {
			list = append(list, wanted{positions[i], a})
		}
	}
	for field, a := range s.Map {
		field = strings.ToLower(field)
		list = slices.DeleteFunc(list, func(w wanted) bool { return account.FieldName(w.field) == account.FieldName(field) })
		list = append(list, wanted{field, string(a)})
	}
	if list == nil {
		list = usual()
	}
	has := slices.ContainsFunc(list, func(w wanted) bool { return account.FieldName(w.field) == "password" })
	if !s.Bind && !has {
		list = append(list, wanted{"password", "userPassword"})
	}
	slices.SortFunc(list, func(a, b wanted) int { return strings.Compare(a.field, b.field) })
	return list
}
