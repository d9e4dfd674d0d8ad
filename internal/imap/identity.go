package imap

import (
	"errors"
	"strings"

	"usher/internal/login"
)

// facts are the names that proxies have for what they tell each other by ID (RFC
// 2971), in the order in which Dovecot sends them.
var facts = []struct {
	name string
	fact login.Fact
}{
	{"x-session-id", login.FactID},
	{"x-originating-ip", login.FactAddr},
	{"x-originating-port", login.FactPort},
	{"x-connected-ip", login.FactLocalAddr},
	{"x-connected-port", login.FactLocalPort},
	{"x-proxy-ttl", login.FactTTL},
	{"x-client-transport", login.FactTransport},
	{"x-connected-name", login.FactServerName},
}

const (
	forwardPrefix = "x-forward-"
	extID         = "x-session-ext-id" // another name for x-session-id, which nobody sends
	multiplex     = "x-multiplex"      // Dovecot's own affair, not the client's word
)

// hear takes the pairs that a client or a front end tells. Names that proxies use
// are never taken for the client's own: a backend would believe them. The error
// says that there is no room for the client.
func (s *server) hear(pairs []login.Pair) error {
	c := s.client
	var own []login.Pair
	for _, p := range pairs {
		name := strings.ToLower(p.Name)
		forward, isForward := strings.CutPrefix(name, forwardPrefix)
		fact, isFact := factOf(name)
		switch {
		case isFact && fact == login.FactAddr && !c.Trusted:
			s.desk.Mistrust(c, name)
		case isFact:
			if err := c.Told(fact, p.Value); errors.Is(err, login.ErrFull) {
				return err
			} // what makes no sense is not heard: the command does not fail for it
		case isForward:
			c.Forwarded(login.Pair{Name: forward, Value: p.Value})
		case name != multiplex:
			own = append(own, p)
		}
	}
	c.Says(own)
	return nil
}

func factOf(name string) (login.Fact, bool) {
	if name == extID {
		return login.FactID, true
	}
	for _, f := range facts {
		if f.name == name {
			return f.fact, true
		}
	}
	return 0, false
}

// maxOwn is how much of the client's own words is passed on, as in Dovecot.
const maxOwn = 1024

// identity is the argument of an ID command that tells a server who the client is;
// "" if there is nothing to tell. RFC 2971 §3.3 allows 30 pairs.
func identity(t login.Ticket) string {
	var told list
	for _, f := range facts {
		if value := t.Fact(f.fact); value != "" {
			told.add(f.name, value)
		}
	}
	for _, p := range t.Forward() {
		told.add(forwardPrefix+p.Name, p.Value)
	}
	var own list
	for _, p := range t.Own() {
		if own.len()+len(p.Name)+len(p.Value) < maxOwn && len(own)+len(told) < login.MaxPairs {
			own.add(p.Name, p.Value)
		}
	}
	return strings.Join(append(own, told...), " ")
}

// A list is pairs as they stand in ID.
type list []string

func (l *list) add(name, value string) {
	if len(*l) < login.MaxPairs && len(name) <= login.MaxName && quotable(name) && quotable(value) {
		*l = append(*l, `"`+quote.Replace(name)+`" "`+quote.Replace(value)+`"`)
	}
}

func (l list) len() (n int) {
	for _, pair := range l {
		n += len(pair)
	}
	return n
}
