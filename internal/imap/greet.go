package imap

import (
	"strings"

	"usher/internal/login"
)

// Greet implements login.Greeter: PREAUTH (RFC 9051 §7.1.4), or BYE with the code that
// a LOGIN would be refused with.
func (Protocol) Greet(c *login.Client, admit func() (*login.Admission, error)) error {
	a, err := admit()
	if err != nil {
		_, words, _ := strings.Cut(refusal(c, err), " ")
		_ = c.Conn.WriteLine("* BYE ", words)
		_ = c.Conn.Flush()
		return err
	}
	for _, line := range a.Welcome.Untagged {
		_ = c.Conn.WriteLine(line)
	}
	_ = c.Conn.WriteLine("* PREAUTH [CAPABILITY ", after(a.Welcome.Capabilities), "] ", a.Welcome.Text)
	return a.Join()
}
