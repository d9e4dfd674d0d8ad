package sasl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"usher/internal/account"
)

// The mechanisms that show an OAuth 2 token: RFC 7628, and the one that Google and
// Microsoft had before.
var (
	OAuthBearer = Mechanism{Name: "OAUTHBEARER", Clear: true, Token: true, Authz: true, Serve: serveToken(parseBearer, "invalid_token"), Enter: enterBearer}
	XOAuth2     = Mechanism{Name: "XOAUTH2", Clear: true, Token: true, Serve: serveToken(parseXOAuth2, "401"), Enter: enterXOAuth2}
)

// A TokenRefusal is the error of a Verifier that does not take a token, with what the
// client may know of that: RFC 7628 §3.2.2.
type TokenRefusal struct {
	Status        string // "invalid_token", "insufficient_scope"; "": invalid_token
	Scope         string // that a token must have; "": not told
	Configuration string // URL of the OpenID provider's configuration; "": not told
	Err           error  // wraps account.ErrRefused; for the log
}

func (r *TokenRefusal) Error() string { return r.Err.Error() }
func (r *TokenRefusal) Unwrap() error { return r.Err }

// serveToken serves one message. Before a refusal the client hears why, in JSON, and
// has to answer that: RFC 7628 §3.2.3.
func serveToken(parse func(string) (name, token string, err error), status string) func(context.Context, Exchange, Verifier, Channel) (Identity, error) {
	return func(ctx context.Context, x Exchange, v Verifier, _ Channel) (Identity, error) {
		msg, err := x.Initial("")
		if err != nil {
			return Identity{}, err
		}
		name, token, err := parse(string(msg))
		if err != nil {
			return Identity{}, err
		}
		var id Identity
		if token == "" { // it only wants to hear which token it needs: RFC 7628 §4.3
			err = refused("the client shows no token")
		} else {
			id, err = v.Token(ctx, name, token)
		}
		if errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrUnknown) {
			_, _ = x.Send(tokenError(err, status)) // the answer says nothing; a connection that is gone shows soon
		}
		return id, err
	}
}

// tokenError is what a client hears of a refusal.
func tokenError(err error, status string) []byte {
	told := struct {
		Status        string `json:"status"`
		Schemes       string `json:"schemes"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{Status: status, Schemes: "bearer"}
	if r, ok := errors.AsType[*TokenRefusal](err); ok {
		told.Scope, told.Configuration = r.Scope, r.Configuration
		if status == "invalid_token" { // XOAUTH2 has numbers of HTTP
			told.Status = cmp.Or(r.Status, status)
		}
	}
	text, err := json.Marshal(told)
	if err != nil {
		panic("sasl: strings cannot be written as JSON: " + err.Error())
	}
	return text
}

// separator is kvsep of RFC 7628 §3.1.
const separator = "\x01"

// parseBearer reads RFC 7628 §3.1: gs2-header kvsep *kvpair kvsep.
func parseBearer(msg string) (name, token string, err error) {
	header, rest, err := parseGS2(msg)
	if err != nil || header.binding != "" || !strings.HasPrefix(rest, separator) {
		return "", "", ErrMalformed
	}
	pairs, err := parsePairs(rest[len(separator):])
	if err != nil {
		return "", "", err
	}
	token, err = bearer(pairs["auth"])
	return header.authz, token, err
}

// parseXOAuth2 reads "user=" name kvsep "auth=Bearer " token kvsep kvsep.
func parseXOAuth2(msg string) (name, token string, err error) {
	pairs, err := parsePairs(msg)
	if err != nil {
		return "", "", err
	}
	token, err = bearer(pairs["auth"])
	return pairs["user"], token, err
}

// parsePairs reads key=value, each with a separator behind it, up to an empty one. None
// may stand there twice: two readers could take different ones.
func parsePairs(text string) (map[string]string, error) {
	text, ok := strings.CutSuffix(text, separator)
	if !ok {
		return nil, ErrMalformed
	}
	pairs := map[string]string{}
	for text != "" {
		var pair string
		if pair, text, ok = strings.Cut(text, separator); !ok {
			return nil, ErrMalformed
		}
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := pairs[key]; !ok || key == "" || twice {
			return nil, ErrMalformed
		}
		pairs[key] = value
	}
	return pairs, nil
}

// bearer is the token: RFC 6750 §2.1. The scheme is in any case: RFC 9110 §11.1.
func bearer(auth string) (token string, err error) {
	if auth == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", ErrMalformed
	}
	return token, nil
}

func enterBearer(x Exchange, c Credentials, _ Channel) error {
	name := cmp.Or(c.Authz, c.Authn)
	return showToken(x, "n,a="+escapeName(name)+","+separator+"auth=Bearer "+c.Password+separator+separator, separator)
}

func enterXOAuth2(x Exchange, c Credentials, _ Channel) error {
	return showToken(x, "user="+c.Authn+separator+"auth=Bearer "+c.Password+separator+separator, "")
}

// showToken sends the one message. What the server says instead of a verdict is why it
// refuses, and wants the answer that says nothing.
func showToken(x Exchange, msg, nothing string) error {
	_, err := x.Send([]byte(msg))
	if err == nil {
		_, err = x.Send([]byte(nothing))
	}
	return end(err)
}
