package login

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Fact is what to tell a server of the client: all to a trusted one, to others how
// many proxies the login may still reach. "" is nothing.
func (t Ticket) Fact(f Fact) string {
	c := t.Client
	switch {
	case f == FactTTL:
		return strconv.Itoa(c.ttl() - 1)
	case !t.Trusted:
		return ""
	}
	switch f {
	case FactID:
		return c.sessionID()
	case FactAddr:
		return addr(c.Remote)
	case FactPort:
		return port(c.Remote)
	case FactLocalAddr:
		return addr(c.Local)
	case FactLocalPort:
		return port(c.Local)
	case FactTransport:
		if c.encrypted() {
			return encrypted
		}
		return insecure
	case FactServerName:
		return c.askedFor()
	}
	return ""
}

func addr(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().WithZone("").String()
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}

// Own is what the client has said of itself, for a trusted server.
func (t Ticket) Own() []Pair {
	if !t.Trusted {
		return nil
	}
	return t.Client.own
}

// Forward is what a trusted server is told besides, by name.
func (t Ticket) Forward() []Pair {
	if !t.Trusted {
		return nil
	}
	return t.Client.onward
}

// forwardPrefix begins the names of attributes of an account that trusted servers
// are told.
const forwardPrefix = "forward_"

// maxForward is how long all that is forwarded may be together: lines have bounds.
const maxForward = 2 << 10

// forward is what the account and the front end want a trusted server to be told.
// The account has the last word.
func (a *Admission) forward() (list []Pair) {
	list = slices.Clone(a.client.forward)
	for _, key := range slices.Sorted(maps.Keys(a.who.Account.Attrs)) {
		if name, ok := strings.CutPrefix(strings.ToLower(key), forwardPrefix); ok {
			list = withPair(list, Pair{name, a.who.Account.Attrs[key]})
		}
	}
	slices.SortStableFunc(list, func(a, b Pair) int { return cmp.Compare(a.Name, b.Name) })
	size := 0
	return slices.DeleteFunc(list, func(p Pair) bool {
		more := len(p.Name) + len(p.Value)
		if size+more > maxForward {
			return true
		}
		size += more
		return false
	})
}
