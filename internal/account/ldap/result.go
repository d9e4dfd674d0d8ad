package ldap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// result is the code of a server's answer (RFC 4511 §4.1.9); without an answer there is
// none.
func result(err error) (code uint16, answered bool) {
	if err == nil {
		return ldap.LDAPResultSuccess, true
	}
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork && e.ResultCode <= ldap.ErrorMalformedPacket { // the library's own
		return 0, false
	}
	return e.ResultCode, true
}

// isTrouble tells whether a server says that it cannot answer now: another one may.
func isTrouble(code uint16) bool {
	switch code {
	case ldap.LDAPResultOperationsError, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultOther:
		return true
	}
	return false
}

// unwrap is what a server said with its code, or the library.
func unwrap(err error) error {
	var e *ldap.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// diagnosis is what a server said with its code. Active Directory ends it with a NUL.
func diagnosis(err error) string {
	text := strings.Trim(unwrap(err).Error(), "\x00 \r\n")
	if text == "<nil>" {
		return ""
	}
	return text
}

// explain says what a server has answered, and what to do.
func explain(err error) string {
	code, answered := result(err)
	if !answered {
		return err.Error()
	}
	s := fmt.Sprintf("the server answers %d %q", code, ldap.LDAPResultCodeMap[code])
	if text := diagnosis(err); text != "" {
		s += fmt.Sprintf(", %.80q", text)
	}
	if do := remedies[code]; do != "" {
		s += ": " + do
	}
	return s
}

// remedies say what to do, where that is known.
var remedies = map[uint16]string{
	ldap.LDAPResultOperationsError:             "some want a bind first: set bind_dn and password_file",
	ldap.LDAPResultTimeLimitExceeded:           "is there an index for the attributes of the filter?",
	ldap.LDAPResultSizeLimitExceeded:           "the server allows this bind_dn too few entries",
	ldap.LDAPResultAuthMethodNotSupported:      "it wants another way to bind: see sasl and bind_dn",
	ldap.LDAPResultStrongAuthRequired:          "it wants TLS: use ldaps://, or starttls = true",
	ldap.LDAPResultReferral:                    "the entries are on another server, and referrals are not followed: put that one into url",
	ldap.LDAPResultAdminLimitExceeded:          "is there an index for the attributes of the filter?",
	ldap.LDAPResultConfidentialityRequired:     "it wants TLS: use ldaps://, or starttls = true",
	ldap.LDAPResultNoSuchObject:                "correct base, or the rights of bind_dn",
	ldap.LDAPResultInvalidDNSyntax:             "correct base, bind_dn or bind_template",
	ldap.LDAPResultInappropriateAuthentication: "it wants to know who asks: set bind_dn and password_file",
	ldap.LDAPResultInvalidCredentials:          "correct bind_dn or its password",
	ldap.LDAPResultInsufficientAccessRights:    "give bind_dn the right to search and to read",
	ldap.LDAPResultUnwillingToPerform:          "its own log says why",
}
