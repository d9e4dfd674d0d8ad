package ldap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// A wanted is a field, and the attribute in which it stands.
type wanted struct {
	field     string // as the map has it: an alias is as good
	attribute string
}

// usual are the fields that stand in attributes of their own names. Not among them are
// those whose names mean something else in a directory: name and address are not what
// somebody logs in with, mail is an address, uid and gid are names (RFC 4519 §2, RFC 4524
// §2.16). No attribute has an underscore (RFC 4512 §1.4).
func usual() (list []wanted) {
	for _, f := range append([]string{"mailhost", "place", "maildir", "home", "quota"}, account.Known...) {
		if f != "password" && !strings.Contains(f, "_") {
			list = append(list, wanted{f, f})
		}
	}
	return list
}

// maxValue is how long a field may be, in bytes.
const maxValue = 64 << 10

// fields makes fields of an entry. An error means that the entry is wrong.
func (k question) fields(e *ldap.Entry, q account.Query) (account.Fields, error) {
	f := account.Fields{}
	for _, w := range k.wanted {
		v, err := w.value(values(e, w.attribute), q.Name)
		if err != nil {
			return nil, account.Final(fmt.Errorf("entry %.80q: field %q: attribute %q %w", e.DN, w.field, w.attribute, err))
		}
		if v != "" {
			f[w.field] = v
		}
	}
	return f, nil
}

// values are those of an attribute; its name matches in any case (RFC 4512 §2.5).
func values(e *ldap.Entry, attribute string) (list []string) {
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, attribute) {
			list = append(list, a.Values...)
		}
	}
	return slices.DeleteFunc(list, func(v string) bool { return v == "" })
}

// value makes one of all, in the order in which they came.
func (w wanted) value(values []string, name string) (string, error) {
	var good []string
	for _, v := range values {
		switch {
		case utf8.ValidString(v) && len(v) <= maxValue:
			good = append(good, v)
		case w.means() != nothing:
			return "", fmt.Errorf("has a value of %d bytes that is no text (UTF-8), or too long for a field", len(v))
		}
	}
	v, err := w.join(good, name)
	if err == nil && len(v) > maxValue {
		err = fmt.Errorf("has %d values that are too long together", len(good))
	}
	return v, err
}

func (w wanted) join(values []string, name string) (string, error) {
	switch kind := w.means(); {
	case kind == passwords:
		return w.passwords(values)
	case len(values) == 1 || kind == several || kind == nothing:
		return strings.Join(values, ","), nil
	case len(values) == 0:
		return "", nil
	}
	// Who has several addresses is found by each of them.
	if i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, name) }); i >= 0 && account.FieldName(w.field) == "destuser" {
		return values[i], nil
	}
	return "", fmt.Errorf("has %d values, but only one can be meant", len(values))
}

// A kind says how many values a field may have.
type kind int

const (
	nothing   kind = iota // it is no field of an account: any number
	one                   // it has one
	several               // it is a list
	passwords             // any of which will do
)

func (w wanted) means() kind {
	switch field := account.FieldName(w.field); {
	case field == "password":
		return passwords
	case slices.Contains([]string{"host", "allow_nets", "options"}, field):
		return several
	case slices.Contains(account.Known, field), slices.Contains([]string{"uid", "gid", "home", "mail", "quota"}, field):
		return one
	}
	return nothing
}

var schemed = regexp.MustCompile(`^\{[A-Za-z0-9._/-]+\}`)

// passwords puts each on a line. A userPassword without a scheme is the password itself
// (RFC 4519 §2.41).
func (w wanted) passwords(values []string) (string, error) {
	var lines []string
	for _, v := range values {
		if strings.ContainsAny(v, "\r\n") {
			return "", errors.New("has a value with a line break")
		}
		if strings.EqualFold(w.attribute, "userPassword") && !schemed.MatchString(v) {
			v = "{PLAIN}" + v
		}
		lines = append(lines, v)
	}
	return strings.Join(lines, "\n"), nil
}
