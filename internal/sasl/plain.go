package sasl

import (
	"bytes"
	"context"
	"errors"
)

// Plain is RFC 4616: one message with everything.
var Plain = Mechanism{Name: "PLAIN", Clear: true, Authz: true, Serve: servePlain, Enter: enterPlain}

func servePlain(ctx context.Context, x Exchange, v Verifier, _ Channel) (Identity, error) {
	msg, err := x.Initial("")
	if err != nil {
		return Identity{}, err
	}
	parts := bytes.Split(msg, []byte{0}) // [authzid] NUL authcid NUL passwd: RFC 4616 §2
	if len(parts) != 3 {
		return Identity{}, ErrMalformed
	}
	return v.Password(ctx, string(parts[0]), string(parts[1]), string(parts[2]))
}

func enterPlain(x Exchange, c Credentials, _ Channel) error {
	_, err := x.Send([]byte(c.Authz + "\x00" + c.Authn + "\x00" + c.Password))
	return end(err)
}

// Given is the exchange of a client that has shown name and password in some
// other way, such as IMAP's LOGIN or POP3's PASS, in PLAIN's own form.
func Given(name, password string) Exchange {
	return given("\x00" + name + "\x00" + password)
}

type given string

func (g given) Initial(string) ([]byte, error) { return []byte(g), nil }
func (g given) Send([]byte) ([]byte, error)    { return nil, ErrMalformed }

// Login is the LOGIN mechanism (draft-murchison-sasl-login-00): two questions.
var Login = Mechanism{Name: "LOGIN", Clear: true, Serve: serveLogin, Enter: enterLogin}

func serveLogin(ctx context.Context, x Exchange, v Verifier, _ Channel) (Identity, error) {
	name, err := x.Initial("Username:")
	if err != nil {
		return Identity{}, err
	}
	password, err := x.Send([]byte("Password:"))
	if err != nil {
		return Identity{}, err
	}
	return v.Password(ctx, "", string(name), string(password))
}

func enterLogin(x Exchange, c Credentials, _ Channel) error {
	_, err := x.Initial("") // whatever it is called, the first question is for the name
	if err == nil {
		_, err = x.Send([]byte(c.Authn))
	}
	if err == nil {
		_, err = x.Send([]byte(c.Password))
	}
	return end(err)
}

// end makes a verdict the good end of the client's half: the protocol reads it.
// A server that asks on instead has left the mechanism.
func end(err error) error {
	if err == nil {
		return ErrMalformed
	}
	if errors.Is(err, ErrVerdict) {
		return nil
	}
	return err
}
