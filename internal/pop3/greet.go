package pop3

import "usher/internal/login"

// Greet implements login.Greeter: the greeting is the answer that PASS would have had.
func (Protocol) Greet(c *login.Client, admit func() (*login.Admission, error)) error {
	a, err := admit()
	if err != nil {
		_ = c.Conn.WriteLine("-ERR ", refusal(c, err))
		_ = c.Conn.Flush()
		return err
	}
	_ = c.Conn.WriteLine("+OK ", a.Welcome.Text)
	return a.Join()
}
