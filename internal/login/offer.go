package login

import (
	"errors"
	"fmt"
	"slices"

	"usher/internal/sasl"
)

// What a client may use depends on its connection: some mechanisms show the password,
// some are nothing without TLS or without a certificate.

// Offered are the mechanisms that this client may use now.
func (d *Desk) Offered(c *Client) []sasl.Mechanism {
	return slices.DeleteFunc(slices.Clone(d.Mechanisms), func(m sasl.Mechanism) bool { return m.Command || c.may(m) != nil })
}

// Offers tells whether this client may use a mechanism now.
func (d *Desk) Offers(c *Client, mechanism string) bool {
	_, err := d.mechanism(c, mechanism)
	return err == nil
}

func (d *Desk) mechanism(c *Client, name string) (sasl.Mechanism, error) {
	if c.Known != nil && name == preauth {
		return c.Known.mechanism(), nil
	}
	for _, m := range d.Mechanisms {
		if m.Name == name {
			return m, c.may(m)
		}
	}
	if !slices.Contains(known, name) {
		name = "that usher does not know" // what stands there may be a password
	}
	return sasl.Mechanism{}, &Refusal{Reason: Unsupported, Err: fmt.Errorf("mechanism %s is not offered", name)}
}

// known are mechanisms that clients ask for, besides those that usher has.
var known = []string{
	"ANONYMOUS", "CRAM-MD5", "CRAM-SHA1", "CRAM-SHA256", "DIGEST-MD5", "EXTERNAL", "GSS-SPNEGO", "GSSAPI", "LOGIN", "NTLM", "OAUTHBEARER", "OTP", "PLAIN",
	"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS", "XOAUTH2",
}

// may tells why a client may not use a mechanism; nil: it may.
func (c *Client) may(m sasl.Mechanism) error {
	switch {
	case m.Clear && !c.Secured():
		return &Refusal{Reason: NeedsTLS, Err: fmt.Errorf("%s without TLS", m.Name)}
	case m.Bound && c.Conn.TLS() == nil:
		return &Refusal{Reason: Unsupported, Err: fmt.Errorf("%s without TLS, to which it is bound", m.Name)}
	case m.Proven:
		if _, err := c.who(); err != nil {
			return &Refusal{Reason: Unsupported, Err: fmt.Errorf("%s: %w", m.Name, err)}
		}
	}
	return nil
}

var errNoCertificate = errors.New("the client has shown no certificate")

// who are the names that the client's certificate proves.
func (c *Client) who() ([]string, error) {
	state := c.Conn.TLS()
	if c.Terms.Who == nil || state == nil || len(state.PeerCertificates) == 0 {
		return nil, errNoCertificate
	}
	if c.proof == nil { // it is the same all the time, and costly to find out
		names, err := c.Terms.Who(state.PeerCertificates)
		c.proof = &proof{names, err}
	}
	return c.proof.names, c.proof.err
}

// A proof is whom a certificate names, or why it names nobody.
type proof struct {
	names []string
	err   error
}

// Channel is what mechanisms must know of a client's connection.
func (d *Desk) Channel(c *Client) sasl.Channel {
	return sasl.Channel{
		Host: c.Terms.Hostname, TLS: c.Conn.TLS(), Certificates: c.Terms.Certificates, Nonce: c.Terms.Nonce,
		Who:    c.who,
		Offers: func(mechanism string) bool { return d.Offers(c, mechanism) },
	}
}
