// Package sasl holds both halves of the mechanisms (RFC 4422), each written as
// a conversation: a function from the first message to the verdict.
package sasl

import (
	"context"
	"errors"

	"usher/internal/account"
)

// A Mechanism is one way to prove who one is.
type Mechanism struct {
	Name  string                                                              // "PLAIN"
	Clear bool                                                                // shows the password to anyone who listens
	Authz bool                                                                // can say for whom a master logs in
	Serve func(ctx context.Context, x Exchange, v Verifier) (Identity, error) // the server's half
	Enter func(x Exchange, c Credentials) error                               // the client's half; nil if none
}

// An Exchange carries a mechanism's messages over some protocol's framing, for
// either half.
type Exchange interface {
	// Initial returns the peer's first message. If it did not come along with
	// the command, a server asks for it with the prompt.
	Initial(prompt string) ([]byte, error)
	// Send sends a message and returns the peer's next one. It returns
	// ErrVerdict if the peer has decided instead.
	Send(msg []byte) ([]byte, error)
}

var (
	// ErrVerdict says that the peer has accepted or refused; which of the two
	// only the protocol can read.
	ErrVerdict = errors.New("the server has decided")
	// ErrMalformed says that a message does not follow its mechanism.
	ErrMalformed = errors.New("malformed authentication message")
)

// A Verifier decides about what a client shows: one question for each family of
// mechanisms. Errors are those of account.Directory and account.Proof.
type Verifier interface {
	// Password asks for the mechanisms that show it. authz is the name to act
	// for, or empty.
	Password(ctx context.Context, authz, authn, password string) (Identity, error)
}

// An Identity is a client that has shown who it is.
type Identity struct {
	Account  *account.Account
	Password string // as shown by the client
	Proven   bool   // false: nobody has checked it yet, the backend must

	// Again asks the source what it says now; nil: it was asked just now.
	Again func(ctx context.Context) (Identity, error)
}

// Credentials are what usher shows to a backend.
type Credentials struct {
	Authz    string // acts for this user; "": for Authn itself
	Authn    string
	Password string
}
