// Package sasl holds both halves of the mechanisms (RFC 4422), each written as
// a conversation: a function from the first message to the verdict.
//
// Read Mechanism first; each family has a file of its own. A mechanism reads and writes
// messages, and leaves it to a Verifier whether they prove anything.
package sasl

import (
	"context"
	"errors"
	"time"

	"usher/internal/account"
)

// A Mechanism is one way to prove who one is.
type Mechanism struct {
	Name    string // "PLAIN"
	Clear   bool   // shows the password, or what is as good, to anyone who listens
	Token   bool   // shows an OAuth 2 token
	Authz   bool   // can say for whom a master logs in
	Bound   bool   // is bound to TLS, and nothing without
	Proven  bool   // shows nothing itself: a certificate has
	Command bool   // is no mechanism of SASL, but a command of its protocol

	// Serve is the server's half.
	Serve func(ctx context.Context, x Exchange, v Verifier, on Channel) (Identity, error)
	// Enter is the client's half; nil if there is none.
	Enter func(x Exchange, c Credentials, on Channel) error
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
	// ErrUnproven says that the peer has decided without having shown, as it must, that
	// it knows the password. If it has accepted, it is not to be trusted.
	ErrUnproven = errors.New("the server has not proven that it knows the password")
)

// A Verifier decides about what a client shows: one question for each family of
// mechanisms. Errors are those of account.Directory and account.Proof; a mechanism that
// is not for an account is refused as a wrong password is. authz is the name to act for,
// or empty.
type Verifier interface {
	// Password asks for the mechanisms that show it.
	Password(ctx context.Context, authz, authn, password string) (Identity, error)
	// Answer asks for those in which the client answers one challenge: CRAM, APOP.
	Answer(ctx context.Context, authn string, a account.Answer) (Identity, error)
	// SCRAM asks what a client must be told that wants to prove itself by SCRAM. hash is
	// SHA-1 or SHA-256. Names that cannot do so, or that nobody has, are told something
	// too, and are refused by the Prover.
	SCRAM(ctx context.Context, hash, authz, authn string) (Prover, error)
	// Token asks for those that show an OAuth 2 token. name is whom the client says it
	// to be for; "": it does not say.
	Token(ctx context.Context, name, token string) (Identity, error)
	// Certificate asks for the names that a client's certificate has proven: one of them
	// at least.
	Certificate(ctx context.Context, authz string, names []string) (Identity, error)
}

// A Prover decides about one client that proves itself by SCRAM.
type Prover interface {
	// Salt is with what, and how often, the client must hash its password.
	Salt() (salt []byte, iterations int)
	// Prove decides about the client's proof over the messages of the exchange, and
	// returns the server's own: RFC 5802 §3.
	Prove(ctx context.Context, messages string, proof []byte) (id Identity, own []byte, err error)
}

// An Identity is a client that has shown who it is.
type Identity struct {
	Account  *account.Account
	Password string // as shown by the client, or known to be its own; "": nobody knows it
	Token    string // OAuth 2's, as shown by the client; "": it has shown none
	Proven   bool   // false: nobody has checked it yet, the backend must
	Master   string // who has proven itself, to act for the account; "": its owner

	// Until is when the session must end, as what proves the client does not hold for
	// longer. Zero: it need not.
	Until time.Time

	// Again asks the source what it says now; nil: it was asked just now.
	Again func(ctx context.Context) (Identity, error)
}

// Credentials are what usher shows to a backend.
type Credentials struct {
	Authz    string // acts for this user; "": for Authn itself
	Authn    string
	Password string // or a token, for the mechanisms that show one
}

// A named error says who it was that failed.
type named struct {
	name string
	error
}

func (n named) Unwrap() error { return n.error }

// Login is the name, for the log.
func (n named) Login() string { return n.name[:min(len(n.name), account.MaxName)] }
