package token

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"usher/internal/account"
	"usher/internal/sasl"
)

// claims are what a token says: RFC 7519 §4, RFC 7662 §2.2. The names of claims are
// compared letter by letter.
type claims map[string]any

// maxNames is how many names a token may have.
const maxNames = 16

// refusal is the error of a token that is not good.
func refusal(format string, args ...any) error { return refusalFor("", format, args...) }

func refusalFor(status, format string, args ...any) error {
	why := fmt.Errorf("the token is not good: "+format, args...)
	return &sasl.TokenRefusal{Status: status, Err: refused{why}}
}

// refused is the error for the log of a refused token.
type refused struct{ error }

func (refused) Is(target error) bool { return target == account.ErrRefused }

// judge decides about what a token says. That the provider says so is known already.
func (s Settings) judge(c claims, now time.Time) (names []string, expires time.Time, err error) {
	for _, question := range []func(claims) error{s.issued, s.meant, s.allows} {
		if err := question(c); err != nil {
			return nil, time.Time{}, err
		}
	}
	if expires, err = s.timely(c, now); err != nil {
		return nil, time.Time{}, err
	}
	names, err = s.names(c)
	return names, expires, err
}

// issued: RFC 7519 §4.1.1. A provider that was asked about the token itself need not
// name itself.
func (s Settings) issued(c claims) error {
	by, there := c["iss"]
	if s.Issuer == "" || !there && s.Introspect != "" || by == s.Issuer {
		return nil
	}
	return refusal("it is of the issuer %.80q, not of %s (issuer)", fmt.Sprint(by), s.Issuer)
}

// meant: RFC 7519 §4.1.3. A token for another service must not open a mailbox.
func (s Settings) meant(c claims) error {
	whom, ok := list(c["aud"])
	if len(s.Audience) == 0 || ok && slices.ContainsFunc(whom, func(one string) bool { return slices.Contains(s.Audience, one) }) {
		return nil
	}
	return refusal("it is for %.80q, not for %s (audience)", strings.Join(whom, " "), strings.Join(s.Audience, " or "))
}

// allows: RFC 8693 §4.2; "scp" is what Microsoft and Okta call it.
func (s Settings) allows(c claims) error {
	var has []string
	for _, name := range []string{"scope", "scp"} {
		some, _ := list(c[name])
		for _, one := range some {
			has = append(has, strings.Fields(one)...)
		}
	}
	for _, one := range s.Scope {
		if !slices.Contains(has, one) {
			return refusalFor("insufficient_scope", "its scope is %.80q, and lacks %s (scope)", strings.Join(has, " "), one)
		}
	}
	return nil
}

// timely: RFC 7519 §4.1.4, §4.1.5. A token that says everything itself must say when it
// ends: nobody else could.
func (s Settings) timely(c claims, now time.Time) (expires time.Time, err error) {
	expires, there, ok := moment(c["exp"])
	switch {
	case !ok, !there && s.Introspect == "":
		return expires, refusal("it does not say until when it holds (exp)")
	case there && !now.Before(expires.Add(s.Skew)):
		return expires, refusal("it has expired at %s", expires.UTC().Format(time.RFC3339))
	}
	begins, there, ok := moment(c["nbf"])
	if !ok || there && now.Add(s.Skew).Before(begins) {
		return expires, refusal("it does not hold yet (nbf)")
	}
	return expires, nil
}

// names are whose it is.
func (s Settings) names(c claims) ([]string, error) {
	names, ok := list(c[s.Claim])
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" || len(name) > account.MaxName })
	if !ok || len(names) == 0 || len(names) > maxNames {
		return nil, refusal("it does not say whose it is: it has no %s (claim)", s.Claim)
	}
	if verified, there := c["email_verified"]; s.Claim == "email" && there && fmt.Sprint(verified) != "true" {
		return nil, refusal("its address is not verified (email_verified): whoever registers there could say it is his") // OpenID Connect Core §5.7
	}
	return names, nil
}

// list is a text, or several: RFC 7519 §4.1.3. ok is false if it is anything else.
func list(v any) (all []string, ok bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		for _, one := range v {
			text, isText := one.(string)
			if !isText {
				return nil, false
			}
			all = append(all, text)
		}
		return all, true
	}
	return nil, false
}

// ages is later than any token may say, and still a time that can be reckoned with.
const ages = 1 << 36

// moment is RFC 7519's NumericDate. ok is false if it is something else.
func moment(v any) (at time.Time, there, ok bool) {
	if v == nil {
		return time.Time{}, false, true
	}
	seconds, isNumber := v.(float64)
	if !isNumber || math.IsNaN(seconds) || seconds < 0 {
		return time.Time{}, true, false
	}
	return time.Unix(int64(min(seconds, ages)), 0), true, true
}

// errNotObject says that a provider does not speak of tokens.
var errNotObject = errors.New("it is not a JSON object")
