// Package pool is what the nodes of a pool say to each other. The node that a client
// has reached proves who it is, once, and then vouches for it at the node where the
// mailbox lives, which asks nobody again: P002-4 to P002-7.
//
// It decides who is a node of the pool (node.go, identity.go), what one node tells
// another of a client and how that is written (voucher.go, read.go), and which
// connections stand ready before they are needed (peers.go). authority.go makes the
// certificates. No password, hash or token is part of any of it.
package pool

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"usher/internal/glob"
)

// Protocol is the version of what nodes say to each other, as ALPN (RFC 7301) knows it.
// It changes when a node of the old version would take the new one's word wrongly.
const Protocol = "usher-pool/1"

// Settings are what a configuration says of a pool.
type Settings struct {
	Nodes   map[string]string // by name: host:port, where the others reach it
	Self    string            // our own name; "": the one in our certificate
	Cert    string            // files, PEM: our certificate with those that lie between it and the authority, …
	Key     string            // … its key, …
	CA      string            // … and the pool's authorities
	Leeway  time.Duration     // by how much clocks may differ
	Timeout time.Duration     // from dialling to what the other node says of a client; 0: none
	Warm    int               // connections that are ready, for each node
	Rules   []Rule            // who may vouch for whom; none: every node for everybody
}

// A Rule lets nodes vouch for users.
type Rule struct {
	Nodes   []string // none: all
	Users   []string // patterns with * and ?; with Domains none: everybody
	Domains []string // of users, what stands behind the first @, as in [[route]]
}

// vouches tells whether a rule lets a node vouch for a user.
func (r Rule) vouches(node, user string) bool {
	if len(r.Nodes) > 0 && !slices.Contains(r.Nodes, node) {
		return false
	}
	if len(r.Users) == 0 && len(r.Domains) == 0 {
		return true
	}
	_, domain, _ := strings.Cut(user, "@")
	fits := func(pattern string) bool { return glob.Match(pattern, user) }
	isDomain := func(d string) bool { return strings.EqualFold(d, domain) }
	return slices.ContainsFunc(r.Users, fits) || strings.Contains(user, "@") && slices.ContainsFunc(r.Domains, isDomain)
}

// ErrMayNot says that a node may not vouch for a user.
var ErrMayNot = errors.New("[pool] vouch does not let this node vouch for this user")

// may tells whether the rules let a node vouch for a user.
func (s Settings) may(node, user string) error {
	if len(s.Rules) == 0 || slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.vouches(node, user) }) {
		return nil
	}
	return fmt.Errorf("node %s, user %.80q: %w", node, user, ErrMayNot)
}

// Hosts are the addresses of the nodes, without their ports: names where they have
// such.
func (s Settings) Hosts() (hosts []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		if host, _, err := net.SplitHostPort(s.Nodes[name]); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
