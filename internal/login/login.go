// Package login is the heart of usher: it takes a client from "who is it?" to a
// relayed session, the same way for all protocols. Read desk.go first.
package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/trace"
	"usher/internal/wire"
)

// A Protocol is what usher must know of a mail protocol.
type Protocol interface {
	Info() Info
	// Serve talks to a client until it is admitted or gone. It returns why the
	// conversation ended, nil for a session that was handed to the relay.
	Serve(ctx context.Context, c *Client, d *Desk) error
	// Enter logs in to a server for a client. Its errors are Refusals or
	// Referrals where the server answered, others where it did not.
	Enter(ctx context.Context, b *wire.Conn, t Ticket) (Welcome, error)
}

// Info says what does not change about a protocol.
type Info struct {
	Name     string // "imap"
	Port     uint16 // in clear: 143
	TLSPort  uint16 // implicit TLS: 993
	ALPN     string // RFC 7301's name: "imap"
	Full     string // what a client hears for whom there is no room: a line; "": nothing
	Away     string // … whom nobody can serve now
	Farewell string // what a logged-in client hears when usher ends its session; "": nothing
}

// A Client is a connection that has not logged in yet.
type Client struct {
	ID       session.ID
	Conn     *wire.Conn
	Protocol Protocol
	Remote   netip.AddrPort // the client's own address, as far as we know
	Local    netip.AddrPort // that the client has connected to, perhaps a front end's
	Terms    Terms
	UTF8     bool // has said so: RFC 6856 §2
	Origin
	// Known is set if it need not show who it is; nil: it must.
	Known *Known
	// Place is what its connection takes of the room. It may be nil.
	Place *limit.Place
	// Counted counts the client under another address than its front end's. The
	// error says that there is no room; it has been logged. Nil: nobody counts.
	Counted func(netip.Addr) error
	// Stay ends when the client has to go, for the reason that is its cause: others
	// need the room more, or usher goes down. It may be nil.
	Stay context.Context
	// Record is what a trace writes down; nil: none is on.
	Record *trace.Record

	bad         int    // commands in bad form
	said, empty int    // commands, and those of them that say nothing
	left        int    // challenges that it has not answered
	proof       *proof // of the certificate that it has shown; nil: nobody has looked
	unwelcome   bool   // it has failed too often, and is to go
}

// staying is ctx, or what ends sooner.
func (c *Client) staying(ctx context.Context) context.Context {
	if c.Stay != nil {
		return c.Stay
	}
	return ctx
}

// Terms are what a listener demands of and offers to its clients.
type Terms struct {
	Hostname  string      // usher's own name, for greetings
	TLS       *tls.Config // nil: none is offered
	Cleartext Cleartext
	Domain    string // added to names without one

	// Certificates are those of TLS, of which clients may have seen one.
	Certificates func() []*x509.Certificate
	// Who gives the names that a client's certificate proves, of which there is one at
	// least. chain is as the client has sent it, not verified yet. nil: clients are not
	// asked for a certificate.
	Who func(chain []*x509.Certificate) ([]string, error)
	// Nonce makes what challenges hold, never the same; nil: chance does.
	Nonce func() string
}

// Cleartext says where passwords may be sent without TLS.
type Cleartext int

// The places where passwords may be sent without TLS. Loopback is between
// programs of this machine.
const (
	CleartextLoopback Cleartext = iota
	CleartextNever
	CleartextAlways
)

// Secured tells whether passwords may be shown on this connection. What is in clear
// between a trusted front end and us is the administrator's own network.
func (c *Client) Secured() bool {
	switch {
	case c.Conn.TLS() != nil, c.encrypted(), c.Trusted, c.Terms.Cleartext == CleartextAlways:
		return true
	case c.Terms.Cleartext == CleartextLoopback:
		return c.Remote.Addr().Unmap().IsLoopback()
	}
	return false
}

// Query is what is known of the client besides its name.
func (c *Client) Query() account.Query {
	return account.Query{
		Protocol: c.Protocol.Info().Name, Remote: c.Remote, Local: c.Local, TLS: c.encrypted(), ServerName: c.askedFor(),
	}
}

// CanStartTLS tells whether the client may still go under TLS.
func (c *Client) CanStartTLS() bool { return c.Terms.TLS != nil && c.Conn.TLS() == nil }

// StartTLS sends what was queued and goes under TLS. What the client has said of itself
// in clear counts no more, as others may have said it: RFC 9051 §6.2.1, RFC 2595 §4.
func (c *Client) StartTLS(ctx context.Context) error {
	c.own, c.forward = nil, nil
	return c.Conn.ServeTLS(ctx, c.Terms.TLS)
}

// A Ticket is what a server must be shown for a client.
type Ticket struct {
	Client    *Client
	User      string          // the mailbox to be opened
	Password  string          // of User, or of Master
	Token     string          // OAuth 2's, of User; "": there is none. It goes before Password
	Master    string          // "": log in as User
	Mechanism *sasl.Mechanism // nil: what fits
	TLS       *tls.Config     // to be started within the protocol; nil: not
	Trusted   bool            // the server may know who the client is: see tell.go

	// Preauth says that whoever is there believes us who the client is: nobody logs in,
	// its greeting is the answer. Silent: it does not even greet, as Dovecot's pop3.
	Preauth, Silent bool
}

// Credentials are the ticket as a SASL mechanism shows it.
func (t Ticket) Credentials(m *sasl.Mechanism) sasl.Credentials {
	if m.Token && t.Token != "" {
		return sasl.Credentials{Authn: t.User, Password: t.Token}
	}
	if t.Master != "" {
		return sasl.Credentials{Authz: t.User, Authn: t.Master, Password: t.Password}
	}
	return sasl.Credentials{Authn: t.User, Password: t.Password}
}

// A Welcome is how a server let a login in.
type Welcome struct {
	Text         string   // the server's words behind OK
	Capabilities string   // true from now on; "" if the protocol has no such list
	Untagged     []string // lines for the client that came before the answer
}
