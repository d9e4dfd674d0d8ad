// Package pop3 is POP3 before login (RFC 1939 and its extensions): Serve to
// clients, in serve.go, and Enter to servers, in enter.go. After login usher
// does not speak POP3, it passes bytes.
package pop3

import (
	"strings"

	"usher/internal/login"
)

// Protocol is POP3.
type Protocol struct{}

// Info implements login.Protocol. POP3 has no way to say goodbye unasked.
func (Protocol) Info() login.Info {
	return login.Info{
		Name: "pop3", Port: 110, TLSPort: 995, ALPN: "pop3",
		Full: "-ERR [SYS/TEMP] Too many connections, please try again later.", // RFC 3206 §4
		Away: "-ERR [SYS/TEMP] The server cannot be reached now, please try again later.",
	}
}

// plain is the mechanism whose rules USER and PASS follow; apop is the command of that
// name.
const (
	plain = "PLAIN"
	apop  = "APOP"
)

// capabilities is the list before login: RFC 2449. TOP and UIDL stand for the
// servers behind, which all have them.
func capabilities(c *login.Client, d *login.Desk) []string {
	caps := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER"}
	if c.CanStartTLS() {
		caps = append(caps, "STLS") // RFC 2595 §4
	}
	if d.Offers(c, plain) {
		caps = append(caps, "USER")
	}
	if names := mechanisms(c, d); len(names) > 0 {
		caps = append(caps, "SASL "+strings.Join(names, " ")) // RFC 5034 §3
	}
	return caps
}

func mechanisms(c *login.Client, d *login.Desk) (names []string) {
	for _, m := range d.Offered(c) {
		names = append(names, m.Name)
	}
	return names
}

// cutCode takes a response code off a server's words: RFC 2449 §8.
func cutCode(s string) (code, text string) {
	if inside, after, closed := strings.Cut(s, "]"); closed && strings.HasPrefix(inside, "[") {
		return inside[1:], strings.TrimPrefix(after, " ")
	}
	return "", s
}
