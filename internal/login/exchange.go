package login

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"

	"usher/internal/sasl"
	"usher/internal/wire"
)

// IMAP (RFC 9051 §6.2.2) and POP3 (RFC 5034 §4) carry SASL in the same lines:
// "+ base64" from the server, base64 from the client, "*" to cancel, and "=" for
// an empty message that comes along with the command.

var base64Std = base64.StdEncoding.Strict()

// exchange is the framing towards a client.
type exchange struct {
	conn    *wire.Conn
	initial *string // not read yet
}

// NewExchange returns the server's half of an exchange with a client. initial is
// what came along with the command, still in base64; nil if nothing did.
func NewExchange(c *wire.Conn, initial *string) sasl.Exchange { return &exchange{c, initial} }

func (x *exchange) Initial(prompt string) ([]byte, error) {
	if x.initial == nil {
		return x.Send([]byte(prompt))
	}
	text := *x.initial
	x.initial = nil
	if text == "=" {
		return nil, nil
	}
	return decode(text)
}

func (x *exchange) Send(msg []byte) ([]byte, error) {
	if !x.silent() { // in this mechanism the server speaks first: RFC 4959 §3, RFC 5034 §4
		return nil, &Refusal{Reason: Malformed, Err: errors.New("the client answers a challenge that it has not heard")}
	}
	if err := x.conn.WriteAs("+ …", "+ ", base64Std.EncodeToString(msg)); err != nil {
		return nil, &Refusal{Reason: Aborted, Err: err}
	}
	line, err := x.conn.ReadLine()
	switch {
	case errors.Is(err, wire.ErrUnclean):
		return nil, &Refusal{Reason: Malformed, Err: err}
	case err != nil:
		return nil, &Refusal{Reason: Aborted, Err: fmt.Errorf("client: %w", err)}
	case line == "*":
		return nil, &Refusal{Reason: Aborted, Err: errors.New("the client cancelled the exchange")}
	}
	return decode(line)
}

// silent tells whether nothing came along with the command that was not read. mutt sends
// an empty message with all mechanisms.
func (x *exchange) silent() bool {
	return x.initial == nil || *x.initial == "" || *x.initial == "="
}

func decode(s string) ([]byte, error) {
	msg, err := base64Std.DecodeString(s)
	if err != nil {
		return nil, &Refusal{Reason: Malformed, Err: errors.New("not base64")} // what it is may be a password
	}
	return msg, nil
}

// An Entry is the framing towards a server: the client's half.
type Entry struct {
	Conn    *wire.Conn
	Command string // "L AUTHENTICATE PLAIN"
	IR      int    // how long the command may be with the first message: RFC 4959, RFC 5034; 0: it goes alone
	// Answer reads the server's next line that counts. For a challenge it
	// returns what stands behind "+"; for anything else it keeps the verdict to
	// itself and returns sasl.ErrVerdict.
	Answer func() (challenge string, err error)

	begun bool
}

// Enter plays the client's half of a mechanism, until Answer has heard the verdict. A
// refusal needs no proof of who has refused.
func (e *Entry) Enter(m *sasl.Mechanism, c sasl.Credentials, accepted func() bool) error {
	on := sasl.Channel{TLS: e.Conn.TLS()}
	on.Certificates = func() []*x509.Certificate { return on.TLS.PeerCertificates[:1] }
	err := m.Enter(e, c, on)
	if errors.Is(err, sasl.ErrUnproven) && !accepted() {
		return nil
	}
	return err
}

// Initial implements sasl.Exchange.
func (e *Entry) Initial(string) ([]byte, error) {
	e.begun = true
	return e.ask(e.Command, e.Command)
}

// Send implements sasl.Exchange.
func (e *Entry) Send(msg []byte) ([]byte, error) {
	text := base64Std.EncodeToString(msg)
	if e.begun {
		return e.ask("…", text)
	}
	if command := e.Command + " " + cmp.Or(text, "="); len(command) <= e.IR {
		e.begun = true
		return e.ask(e.Command+" …", command)
	}
	if _, err := e.Initial(""); err != nil {
		return nil, err
	}
	return e.ask("…", text)
}

func (e *Entry) ask(told, line string) ([]byte, error) {
	if err := e.Conn.WriteAs(told, line); err != nil {
		return nil, err
	}
	challenge, err := e.Answer()
	if err != nil {
		return nil, err
	}
	e.Conn.Show(len("+")) // if it is there, it was read last
	return base64Std.DecodeString(challenge)
}
