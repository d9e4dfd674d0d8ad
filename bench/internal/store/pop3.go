package store

import "strings"

// POP3 serves RFC 1939 as far as proxies and the load need it.
func POP3(c *Client) {
	c.say("+OK store ready.\r\n")
	for {
		line, ok := c.line()
		if !ok {
			return
		}
		verb, argument, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "CAPA":
			c.say("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nUSER\r\nSASL PLAIN\r\n.\r\n")
		case "AUTH":
			ok = c.response(argument)
			c.say("+OK Logged in.\r\n")
		case "QUIT":
			c.say("+OK Logging out.\r\n")
			_ = c.flush()
			return
		default:
			c.say("+OK\r\n")
		}
		if !ok {
			return
		}
	}
}
