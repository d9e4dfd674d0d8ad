package store

import (
	"strconv"
	"strings"
)

// capabilities are those of a Dovecot, before and after login.
const (
	before = "CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN"
	after  = "CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT THREAD=REFERENCES MULTIAPPEND UNSELECT " +
		"CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN MOVE LITERAL+"
)

// IMAP serves RFC 9051 as far as proxies and the load need it. A FETCH of
// BODY.PEEK[]<0.n> brings n bytes.
func IMAP(c *Client) {
	c.say("* OK [", before, "] store ready.\r\n")
	for caps := before; ; {
		line, ok := c.line()
		if !ok {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		verb, argument, _ := strings.Cut(rest, " ")
		switch strings.ToUpper(verb) {
		case "LOGIN":
			ok = c.literals(argument)
			caps = after
			c.say(tag, " OK [", after, "] Logged in\r\n")
		case "AUTHENTICATE":
			ok = c.response(argument)
			caps = after
			c.say(tag, " OK [", after, "] Logged in\r\n")
		case "CAPABILITY":
			c.say("* ", caps, "\r\n", tag, " OK Capability completed.\r\n")
		case "ID":
			c.say("* ID NIL\r\n", tag, " OK ID completed.\r\n")
		case "IDLE":
			c.say("+ idling\r\n")
			_, ok = c.line()
			c.say(tag, " OK Idle completed.\r\n")
		case "APPEND":
			ok = c.literals(argument)
			c.say(tag, " OK APPEND completed.\r\n")
		case "FETCH":
			ok = c.fetch(tag, number(argument, "<0.", ">")) == nil
		case "LOGOUT":
			c.say("* BYE Logging out\r\n", tag, " OK Logout completed.\r\n")
			_ = c.flush()
			return
		default:
			c.say(tag, " OK ", verb, " completed.\r\n")
		}
		if !ok {
			return
		}
	}
}

// literals reads on while a line ends in one: nginx logs in so.
func (c *Client) literals(line string) bool {
	for strings.HasSuffix(line, "}") {
		n := number(strings.Replace(line, "+}", "}", 1), "{", "}")
		if !strings.HasSuffix(line, "+}") {
			c.say("+ OK\r\n")
		}
		ok := c.skip(n)
		if ok {
			line, ok = c.line()
		}
		if !ok {
			return false
		}
	}
	return true
}

// response asks for what did not come with AUTHENTICATE.
func (c *Client) response(argument string) bool {
	if strings.Contains(argument, " ") {
		return true
	}
	c.say("+ \r\n")
	_, ok := c.line()
	return ok
}

func (c *Client) fetch(tag string, n int) error {
	c.say("* 1 FETCH (BODY[]<0> {", strconv.Itoa(n), "}\r\n")
	if err := c.pour(n); err != nil {
		return err
	}
	c.say(")\r\n", tag, " OK Fetch completed.\r\n")
	return nil
}
