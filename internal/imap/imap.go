// Package imap is IMAP before login (RFC 9051, RFC 3501): Serve to clients, in
// serve.go, and Enter to servers, in enter.go. After login usher does not speak
// IMAP, it passes bytes.
package imap

import (
	"slices"
	"strings"

	"usher/internal/login"
)

// Protocol is IMAP.
type Protocol struct{}

// Info implements login.Protocol.
func (Protocol) Info() login.Info {
	return login.Info{
		Name: "imap", Port: 143, TLSPort: 993, ALPN: "imap",
		Full:     "* BYE [UNAVAILABLE] Too many connections, please try again later.", // RFC 9051 §7.1.5, RFC 5530
		Away:     "* BYE [UNAVAILABLE] The server cannot be reached now, please try again later.",
		Farewell: "* BYE [UNAVAILABLE] Please connect again.\r\n", // RFC 9051 §7.1.5
	}
}

// before is the capability list before login. What clients rely on after login
// is the server's to promise: it stands in the answer to the login.
func before(c *login.Client, d *login.Desk) string {
	caps := []string{"IMAP4rev1", "LITERAL+", "SASL-IR", "ID"}
	if c.CanStartTLS() {
		caps = append(caps, "STARTTLS")
	}
	for _, m := range d.Offered(c) {
		caps = append(caps, "AUTH="+m.Name)
	}
	if !d.Offers(c, plain) {
		caps = append(caps, "LOGINDISABLED") // RFC 9051 §7.2.2
	}
	return strings.Join(caps, " ")
}

// plain is the mechanism whose rules the command LOGIN follows.
const plain = "PLAIN"

// uncarried are capabilities of servers that no longer hold once a session is
// relayed: TLS and login are over, and a second login would reach this server
// whoever it is for (UNAUTHENTICATE, RFC 8437).
var uncarried = []string{"STARTTLS", "LOGINDISABLED", "SASL-IR", "UNAUTHENTICATE", "LOGIN-REFERRALS"}

// after is the server's capability list as it holds for a relayed session.
func after(caps string) string {
	list := slices.DeleteFunc(strings.Fields(caps), func(c string) bool {
		c = strings.ToUpper(c)
		return slices.Contains(uncarried, c) || strings.HasPrefix(c, "AUTH=")
	})
	return strings.Join(list, " ")
}

func has(caps, capability string) bool {
	return slices.ContainsFunc(strings.Fields(caps), func(c string) bool { return strings.EqualFold(c, capability) })
}
