package login

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/route"
	"usher/internal/sasl"
)

// A Reason is what a client may know of a refused login. Every protocol has a
// response for each.
type Reason int

// The reasons. The zero value is for when we are in doubt: the fault is ours,
// and passes.
const (
	Unavailable   Reason = iota // the mailbox's server
	CannotTell                  // the account source
	Misconfigured               // here or at the server: waiting will not help
	Looping                     // proxies send the login to each other
	BadLogin                    // wrong name or password; the two are never told apart
	Unsupported                 // a mechanism that we do not have
	NeedsTLS                    // a mechanism that this client may not use without TLS
	NotPermitted                // proven, but not for this service or account
	Disabled                    // proven, but the account is switched off
	Expired                     // proven, but the password is too old
	TooMany
	TooManyFailures // of the network, or of the name: the password was not even looked at
	ByPolicy        // the policy service says no; the client hears of a wrong name or password
	Malformed
	Aborted
)

// String says the reason as it stands in the log.
func (r Reason) String() string {
	return [...]string{
		"backend unavailable", "account source unavailable", "misconfigured", "looping", "wrong name or password", "mechanism not offered",
		"cleartext not allowed", "not permitted", "account disabled", "password expired", "too many", "too many failures",
		"refused by policy", "malformed", "aborted",
	}[r]
}

// A Refusal is an error with a Reason, and perhaps words for the client that
// somebody else has chosen.
type Refusal struct {
	Reason Reason
	Code   string // the server's response code, to be passed on: "LIMIT"
	Text   string // the server's or the account's own words, to be passed on
	Err    error  // for the log
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Final tells whether asking another address would not help.
func (r *Refusal) Final() bool { return r.Reason != Unavailable }

// Misconfiguration is the refusal of a login that waiting will not help; the
// words are for the log and say what to do.
func Misconfiguration(format string, args ...any) error {
	return &Refusal{Reason: Misconfigured, Err: fmt.Errorf(format, args...)}
}

// because gives an error a reason unless it has one of its own.
func because(r Reason, err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return err
	}
	if words, ok := errors.AsType[account.Refusal](err); ok { // the source wants them to be seen
		return &Refusal{Reason: BadLogin, Text: oneLine.Replace(words.Text), Err: err}
	}
	if known, ok := reasonOf(err); ok {
		r = known
	}
	return &Refusal{Reason: r, Err: err}
}

// reasonOf is the only place where errors of other packages become reasons.
func reasonOf(err error) (Reason, bool) {
	switch {
	case errors.Is(err, account.ErrUnknown), errors.Is(err, account.ErrRefused):
		return BadLogin, true
	case errors.Is(err, sasl.ErrMalformed):
		return Malformed, true
	case errors.Is(err, limit.ErrTooMany):
		return TooMany, true
	case errors.Is(err, route.ErrRefused):
		return NotPermitted, true
	}
	return Unavailable, false
}

// RefusalOf returns what a client may be told of an error of Admit.
func RefusalOf(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Reason: Unavailable, Err: err}
}

// ReasonOf returns the reason of an error of Admit.
func ReasonOf(err error) Reason { return RefusalOf(err).Reason }

// codes are the values of the account field "code".
var codes = map[string]Reason{
	"temp_fail":     CannotTell,
	"authz_fail":    NotPermitted,
	"user_disabled": Disabled,
	"pass_expired":  Expired,
}

// oneLine makes words of a source fit for an answer: the wire takes no others.
var oneLine = strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\x00", " ")

// denied is the refusal of an account that may not log in.
func denied(d *account.Denied) error {
	reason := Disabled
	if d.Code != "" {
		reason = codes[d.Code]
	}
	return &Refusal{Reason: reason, Text: oneLine.Replace(d.Text), Err: fmt.Errorf("the account says nologin, code %q, reason %.80q", d.Code, d.Text)}
}

// passedOn are response codes of servers that clients may see with the server's
// own words, for IMAP (RFC 5530) and POP3 (RFC 2449, RFC 3206).
func passedOn(code string) bool {
	return !slices.Contains([]string{
		"", "AUTHENTICATIONFAILED", "AUTH", "UNAVAILABLE", "SYS/TEMP", "SERVERBUG", "SYS/PERM",
		"CAPABILITY", "PARSE", "REFERRAL", // which do not say why
	}, code)
}

// Refused is the error of a server that answered a login with no. Words without
// a code, or with one that says "wrong password", are for the log only: they may
// tell a stranger which accounts exist.
func Refused(server, code, text string) error {
	r := &Refusal{Reason: BadLogin, Err: fmt.Errorf("%s refused the login: [%.40s] %.80q", server, code, text)}
	switch {
	case (code == "SERVERBUG" || code == "SYS/PERM") && text == Loops:
		r.Reason = Looping
	case code == "UNAVAILABLE", code == "SYS/TEMP":
		r.Reason, r.Code, r.Text = Unavailable, code, text
	case code == "SERVERBUG", code == "SYS/PERM":
		r.Reason = Misconfigured
	case passedOn(code):
		r.Reason, r.Code, r.Text = NotPermitted, code, text
	}
	return r
}
