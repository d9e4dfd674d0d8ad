package ldap

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// bound is the Proof of an account whose password the directory checks: whoever may
// bind as the entry has it. It binds on connections of their own, since a bind ends
// whatever else happens on a connection, and changes who asks (RFC 4511 §4.2.1).
type bound struct {
	source *Source
	dn     string
}

// Identity implements account.Proof.
func (b bound) Identity() string { return b.dn }

// Check implements account.Proof.
func (b bound) Check(ctx context.Context, password string) error {
	switch {
	case b.dn == "":
		return errors.New("an entry without a DN: a bind would be anonymous, and prove nothing")
	case password == "": // a bind without one succeeds, and proves nothing: RFC 4513 §5.1.2
		return account.ErrRefused
	}
	return b.source.servers.Do(ctx, func(ctx context.Context, _ string, s *server) error {
		return b.verdict(s.binds.with(ctx, smallAnswer, func(c *ldap.Conn) error { return c.Bind(b.dn, password) }))
	})
}

// verdict says what a bind has shown. What a server says of one entry, such as that it
// is locked, must not make it seem ill.
func (b bound) verdict(err error) error {
	code, answered := result(err)
	switch {
	case !answered:
		return err
	case code == ldap.LDAPResultSuccess:
		return nil
	case code == ldap.LDAPResultInvalidCredentials:
		return refused(err)
	case code == ldap.LDAPResultNoSuchObject, // it has gone since it was found
		code == ldap.LDAPResultInappropriateAuthentication, // it has no password: RFC 4511 §A.1
		code == ldap.LDAPResultConstraintViolation:         // 389 Directory Server: tried too often
		return fmt.Errorf("%w: bind as %.80q: the server answers %d, %.80q", account.ErrRefused, b.dn, code, diagnosis(err))
	case isTrouble(code):
		return fmt.Errorf("bind as %.80q: %s", b.dn, explain(err))
	}
	return account.Final(fmt.Errorf("bind as %.80q: %s", b.dn, explain(err)))
}

var activeDirectory = regexp.MustCompile(`\bdata ([0-9a-f]{1,8})\b`)

// refused is ErrRefused, for the log with what Active Directory knows of the account.
// Clients hear nothing of it: a stranger has not shown the right password.
func refused(err error) error {
	if m := activeDirectory.FindStringSubmatch(diagnosis(err)); m != nil {
		if why := reasons[m[1]]; why != "" {
			return fmt.Errorf("%w: Active Directory says: %s (data %s)", account.ErrRefused, why, m[1])
		}
	}
	return account.ErrRefused
}

// reasons are Windows' error codes, in hexadecimal.
var reasons = map[string]string{
	"525": "there is no such user",
	"530": "not at this time of the day",
	"531": "not from this machine",
	"532": "the password has expired",
	"533": "the account is disabled",
	"701": "the account has expired",
	"773": "the password must be changed first",
	"775": "the account is locked",
}
