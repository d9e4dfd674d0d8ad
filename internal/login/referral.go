package login

import (
	"fmt"
	"net/url"
	"strings"

	"usher/internal/route"
)

// A Referral is the error of a server that says where the mailbox is instead:
// IMAP's [REFERRAL imap://user@host:port/] (RFC 2221), POP3's
// [REFERRAL/user@host:port] as Dovecot sends it.
type Referral struct {
	User string // "": the same
	Addr string // host or host:port

	from route.Stop
}

func (r *Referral) Error() string { return fmt.Sprintf("the server refers the login to %.80q", r.Addr) }

// Final ends the search for an address: another one must be asked.
func (r *Referral) Final() bool { return true }

// ParseReferral reads what stands behind the word REFERRAL. An IMAP URL may name
// the user before a semicolon (;AUTH=*); its path is of no use for a login.
func ParseReferral(s string) (*Referral, bool) {
	s = strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(s, "imap://"); ok {
		s, _, _ = strings.Cut(rest, "/")
	}
	user, addr := "", s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, addr = s[:i], s[i+1:]
	}
	user, _, _ = strings.Cut(user, ";")
	user, userErr := url.PathUnescape(user)
	_, _, addrErr := route.SplitHost(addr)
	return &Referral{User: user, Addr: addr}, userErr == nil && addrErr == nil
}

// target is the referred server, with all settings of the one that refers: it
// has seen the password already, and the certificate must still fit.
func (r *Referral) target(t route.Target) (route.Target, error) {
	d, ok := t.(route.Dial)
	if !ok {
		return nil, fmt.Errorf("%s cannot be followed: %w", t.Name(), r)
	}
	return d.Referred(r.from, r.Addr, r.User)
}
