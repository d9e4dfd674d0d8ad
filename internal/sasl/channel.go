package sasl

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"hash"
	"strings"
)

// A Channel is the connection that carries an exchange: what a mechanism must know of it
// besides the messages. The zero value is one in clear, of which nothing is known.
type Channel struct {
	Host string               // the server's own name, for challenges
	TLS  *tls.ConnectionState // nil: none

	// Certificates are those of which the server may have shown one.
	Certificates func() []*x509.Certificate
	// Who gives the names that the client's certificate proves.
	Who func() ([]string, error)
	// Offers tells whether the client may use another mechanism as well.
	Offers func(mechanism string) bool
	// Nonce is a text that was never used before, of printable ASCII without a comma;
	// nil: chance makes it.
	Nonce func() string
}

func (c Channel) nonce() string {
	if c.Nonce != nil {
		return c.Nonce()
	}
	return rand.Text()
}

// Challenge is a text that was never sent before, in the form of a message's number:
// RFC 1939 §7, RFC 2195 §2.
func (c Channel) Challenge() string {
	host := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune("<>@", r) {
			return r
		}
		return -1
	}, c.Host)
	return "<" + c.nonce() + "@" + host + ">"
}

// bindings are the values by which the two ends of TLS know that there is nobody between
// them: RFC 5056. Any of them will do; none if this kind is unknown, or not to be had.
func (c Channel) bindings(kind string) (all [][]byte) {
	switch {
	case c.TLS == nil:
	case kind == "tls-exporter": // RFC 9266
		// TLS 1.2 tells an empty context from none, and clients have either.
		for _, context := range [][]byte{{}, nil} {
			if key, err := c.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", context, 32); err == nil {
				all = append(all, key)
			}
		}
	case kind == "tls-server-end-point" && c.Certificates != nil: // RFC 5929 §4
		// Whoever has one of these keys can make the server show that very one. So it
		// need not be known which it was.
		for _, cert := range c.Certificates() {
			if sum := endPoint(cert); sum != nil {
				all = append(all, sum)
			}
		}
	case kind == "tls-unique" && len(c.TLS.TLSUnique) > 0: // RFC 5929 §3; there is none in TLS 1.3
		all = append(all, c.TLS.TLSUnique)
	}
	return all
}

// endPoint is the hash of a certificate, by the hash of its own signature: RFC 5929
// §4.1. A signature without one, such as that of Ed25519, has none.
func endPoint(cert *x509.Certificate) []byte {
	var newHash func() hash.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1, // the RFC has a stronger one for them
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		newHash = sha256.New
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		newHash = sha512.New384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		newHash = sha512.New
	default:
		return nil
	}
	h := newHash()
	h.Write(cert.Raw)
	return h.Sum(nil)
}
