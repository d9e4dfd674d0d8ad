package login

import (
	"errors"
	"strconv"
	"strings"
)

// Logins may go round in a circle, if proxies send them to each other. Each proxy
// tells the next how many more a login may pass: trusted ones, and every usher, by
// whatever name it has been configured. So a circle ends where somebody refuses,
// and no proxy on the way back tries again.

// maxHops is how many proxies a login may reach, as Dovecot has it: the last one
// refuses it.
const maxHops = 5

// Loops are the words by which one proxy tells another.
const Loops = "Proxies appear to be looping."

// looping refuses a login that has come too far.
func looping() error {
	return &Refusal{Reason: Looping, Err: errors.New(
		"TTL reached zero: proxies appear to be looping: see that hosts of accounts, routes and backends do not lead from one proxy to another and back")}
}

// hopsBefore is how many proxies a login has passed that may reach so many more,
// the one that is told included. Nobody can take back what is counted already.
func hopsBefore(ttl string, counted int) (int, error) {
	left, err := strconv.ParseUint(ttl, 10, 16)
	if err != nil {
		return counted, ErrFact
	}
	return max(counted, maxHops-int(min(left, maxHops))), nil
}

// ttl is how many proxies the login may still reach, we included.
func (c *Client) ttl() int { return maxHops - c.hops }

// Proxied tells whether the peer is a proxy that counts hops.
func (c *Client) Proxied() bool { return c.hops > 0 }

// What ushers know each other by.
const (
	product = "usher"
	mark    = product + " ready"
)

// Greeting is what we say when a client comes. A machine that is called usher need
// not say it twice.
func (t Terms) Greeting() string {
	if t.Hostname == product {
		return mark
	}
	return t.Hostname + " " + mark
}

// IsUsher tells whether a server's greeting is that of an usher.
func IsUsher(greeting string) bool {
	before, after, found := strings.Cut(greeting, mark)
	return found && (before == "" || strings.HasSuffix(before, " ")) && (after == "" || strings.HasPrefix(after, " "))
}
