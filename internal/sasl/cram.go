package sasl

import (
	"context"
	"encoding/hex"
	"strings"

	"usher/internal/account"
	"usher/internal/password"
)

// CRAM is RFC 2195, and the same with other hashes, as Courier has it: the client shows
// an HMAC of a challenge, with its password as the key.
var (
	CRAMMD5    = cram("MD5").mechanism()
	CRAMSHA1   = cram("SHA1").mechanism()
	CRAMSHA256 = cram("SHA256").mechanism()
)

// cram is the hash.
type cram string

func (c cram) mechanism() Mechanism {
	return Mechanism{Name: "CRAM-" + string(c), Serve: c.serve, Enter: c.enter}
}

func (c cram) serve(ctx context.Context, x Exchange, v Verifier, on Channel) (Identity, error) {
	challenge := on.Challenge()
	msg, err := x.Send([]byte(challenge))
	if err != nil {
		return Identity{}, err
	}
	name, ok := nameOf(string(msg))
	if !ok {
		return Identity{}, ErrMalformed
	}
	return v.Answer(ctx, name, account.Answer{Method: "cram-" + strings.ToLower(string(c)), Challenge: challenge, Response: string(msg)})
}

// nameOf is what stands before the last blank: there can be some in a name.
func nameOf(response string) (name string, ok bool) {
	i := strings.LastIndexByte(response, ' ')
	if i < 0 {
		return "", false
	}
	return response[:i], true
}

func (c cram) enter(x Exchange, who Credentials, _ Channel) error {
	challenge, err := x.Initial("")
	if err != nil {
		return end(err)
	}
	sum, _ := password.HMAC("{PLAIN}"+who.Password, string(c), string(challenge))
	_, err = x.Send([]byte(who.Authn + " " + hex.EncodeToString(sum)))
	return end(err)
}

// APOP is POP3's own command: RFC 1939 §7. Its challenge came with the greeting.
var APOP = Mechanism{Name: "APOP", Command: true, Serve: serveAPOP}

func serveAPOP(ctx context.Context, x Exchange, v Verifier, _ Channel) (Identity, error) {
	a, ok := x.(answered)
	if !ok { // a client must not choose its challenge
		return Identity{}, ErrMalformed
	}
	return v.Answer(ctx, a.name, account.Answer{Method: "apop", Challenge: a.challenge, Response: a.digest})
}

// Answered is the exchange of a client that has answered a challenge of ours by a
// command of its protocol.
func Answered(challenge, name, digest string) Exchange { return answered{challenge, name, digest} }

type answered struct{ challenge, name, digest string }

func (answered) Initial(string) ([]byte, error) { return nil, ErrMalformed }
func (answered) Send([]byte) ([]byte, error)    { return nil, ErrMalformed }
