package admin

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"usher/internal/glob"
)

// A Selector chooses sessions. All that it names must fit; the zero value
// chooses every session.
type Selector struct {
	User    string `json:"user,omitempty"`    // a name, or a pattern with * and ?
	Session string `json:"session,omitempty"` // an ID
	Backend string `json:"backend,omitempty"` // its name in the configuration, or a host
	From    string `json:"from,omitempty"`    // the address:port by which a server sees it; logins on their way are chosen, too
}

// Matches tells whether a session is chosen. Nothing is compared by case.
func (s Selector) Matches(x Session) bool {
	return (s.User == "" || glob.Match(s.User, x.User)) &&
		(s.Session == "" || strings.EqualFold(s.Session, x.ID)) &&
		(s.Backend == "" || x.on(s.Backend)) &&
		(s.From == "" || s.From == x.From)
}

// on tells whether a session's mailbox is on a backend, or on a host with or
// without its port.
func (x Session) on(where string) bool {
	addr := x.Target[strings.LastIndexByte(x.Target, '/')+1:]
	host, _, _ := net.SplitHostPort(addr)
	for _, name := range []string{x.Backend, host, addr} {
		if strings.EqualFold(where, name) {
			return true
		}
	}
	return false
}

// errEverybody keeps a slip of the fingers from kicking everybody.
var errEverybody = errors.New(`a kick needs a user, a session or a backend; the user "*" is everybody`)

// query is the selector as it stands in an address.
func (s Selector) query() url.Values {
	q := url.Values{}
	for name, field := range s.fields() {
		if *field != "" {
			q.Set(name, *field)
		}
	}
	return q
}

// selector reads what query writes. What it does not know it refuses: an older
// process must not answer for more sessions than it was asked for.
func selector(q url.Values) (Selector, error) {
	var s Selector
	fields := s.fields()
	for name, values := range q {
		field := fields[name]
		if field == nil || len(values) != 1 {
			return s, fmt.Errorf("cannot select sessions by %d times %.40q; use each of user, session, backend and from once at most", len(values), name)
		}
		if *field = values[0]; len(*field) > maxPattern {
			return s, fmt.Errorf("the %s to select by has %d characters; no name has more than %d", name, len(*field), maxPattern)
		}
	}
	return s, nil
}

func (s *Selector) fields() map[string]*string {
	return map[string]*string{"user": &s.User, "session": &s.Session, "backend": &s.Backend, "from": &s.From}
}
