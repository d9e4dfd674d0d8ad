package pop3

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"usher/internal/login"
)

// xclient announces, in the greeting for those who are trusted, the command by
// which Dovecot's proxies tell who the client is.
const xclient = "[XCLIENT]"

// facts are the names of XCLIENT for what proxies tell each other, in the order in
// which Dovecot sends them.
var facts = []struct {
	name string
	fact login.Fact
}{
	{"ADDR", login.FactAddr},
	{"PORT", login.FactPort},
	{"DESTADDR", login.FactLocalAddr},
	{"DESTPORT", login.FactLocalPort},
	{"SESSION", login.FactID},
	{"TTL", login.FactTTL},
	{"CLIENT-TRANSPORT", login.FactTransport},
	{"DESTNAME", login.FactServerName},
}

const forwardField = "FORWARD"

// xclient takes what a front end tells: NAME=VALUE, and again. From whom we do not
// trust we take how far the login has come, as another usher tells it, and nothing
// else.
func (s *server) xclient(args string) error {
	for field := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(field, "=")
		name = strings.ToUpper(name)
		if !s.client.Trusted && name != "TTL" {
			return s.mistrust("XCLIENT")
		}
		if err := hear(s.client, name, value); err != nil {
			return s.told(err)
		}
	}
	return s.told(nil)
}

// xoip is Zimbra's form of it.
func (s *server) xoip(addr string) error {
	if !s.client.Trusted {
		return s.mistrust("XOIP")
	}
	return s.told(s.client.Told(login.FactAddr, addr))
}

func (s *server) mistrust(command string) error {
	s.desk.Mistrust(s.client, command)
	return s.reject(command + " is for trusted front ends.")
}

// told answers as Dovecot does.
func (s *server) told(err error) error {
	switch {
	case errors.Is(err, login.ErrFull):
		_ = s.conn.WriteLine(Protocol{}.Info().Full)
		_ = s.conn.Flush()
		return login.ErrDone
	case err != nil:
		return s.no("Invalid parameters")
	}
	return s.ok("Updated")
}

// hear takes one field. Those that we do not know are for others.
func hear(c *login.Client, name, value string) error {
	if name == forwardField {
		return hearForward(c, value)
	}
	for _, f := range facts {
		if f.name == name {
			return c.Told(f.fact, value)
		}
	}
	return nil
}

// hearForward reads NAME=VALUE, TAB, and again, in base64.
func hearForward(c *login.Client, text string) error {
	list, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return login.ErrFact
	}
	for pair := range strings.SplitSeq(string(list), "\t") {
		name, value, _ := strings.Cut(pair, "=")
		c.Forwarded(login.Pair{Name: fromTabs.Replace(name), Value: fromTabs.Replace(value)})
	}
	return nil
}

// Dovecot's way to have tabs and line ends in a list that is separated by tabs.
var (
	toTabs   = strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
	fromTabs = strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")
)

// identity are the arguments of XCLIENT that tell a server who the client is.
func identity(t login.Ticket) string {
	var told []string
	for _, f := range facts {
		if value := t.Fact(f.fact); value != "" {
			told = append(told, f.name+"="+value)
		}
	}
	var forward []string
	for _, p := range t.Forward() {
		forward = append(forward, toTabs.Replace(p.Name)+"="+toTabs.Replace(p.Value))
	}
	if len(forward) > 0 {
		told = append(told, forwardField+"="+base64.StdEncoding.EncodeToString([]byte(strings.Join(forward, "\t"))))
	}
	told = slices.DeleteFunc(told, func(s string) bool { return strings.ContainsAny(s, " \r\n\x00") })
	return strings.Join(told, " ")
}
