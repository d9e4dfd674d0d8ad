package route

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Local is what [local] says: which programs of this machine serve mailboxes.
type Local struct {
	Programs map[string]Program // by name
	Default  string             // the name of the one for accounts that ask for none
	Attr     string             // the attribute of an account by which it asks for one; "": none
	Timeout  time.Duration      // for a program to be started and to greet

	// Is tells whether a host is this machine by one of its names or addresses. It is
	// asked about hosts without a port only: behind a port there is another server.
	Is func(host string) bool

	// Stays names, by protocol, what says that no login leaves this machine:
	// "IMAP_PROXY=0".
	Stays map[string]string
}

// A Node is a machine of the pool.
type Node struct {
	Addr string // host:port, where the others reach it
	Own  bool   // it is this machine
}

// ErrNoLocal says that a login should be served by this machine, which serves none.
var ErrNoLocal = errors.New("the account is of this machine, but [local] names no program for it")

// ErrNotHome says that a login should go to a node of the pool, and the account names none.
var ErrNotHome = errors.New("the account's host is neither a node of [pool] nor this machine")

// stays tells whether no login of a protocol leaves this machine.
func (t *Table) stays(protocol string) bool { return t.Local != nil && t.Local.Stays[protocol] != "" }

// whose says in words that the first of an account's hosts is this machine, or a node.
func (t *Table) whose(v Visit) string {
	host := v.Account.Place.Hosts[0]
	name, isNode := t.node(host)
	switch _, backend := t.Backends[host]; {
	case backend:
	case isNode && !t.Nodes[name].Own:
		return ", which is the node " + name
	case isNode, t.isHere(host) && v.Account.Place.Port == 0:
		return ", which is this machine"
	}
	return ""
}

// local sends a login to a program of this machine.
func (t *Table) local(v Visit) (Target, error) {
	s, err := t.exec(v)
	if err != nil {
		return nil, err
	}
	return Dial{Stops: []Stop{s}, Timeout: cmp.Or(v.Account.Place.Timeout, t.Local.Timeout)}, nil
}

// exec is the program that serves an account here.
func (t *Table) exec(v Visit) (Stop, error) {
	if t.Local == nil {
		return Stop{}, ErrNoLocal
	}
	name := t.Local.Default
	if t.Local.Attr != "" {
		name = cmp.Or(v.Account.Attrs[t.Local.Attr], name)
	}
	if v.Program != "" {
		name = v.Program
	}
	p, ok := t.Local.Programs[name]
	command := p.Mail[v.Protocol]
	switch {
	case !ok && name != "":
		return Stop{}, fmt.Errorf("[local] has no program %q", name)
	case command == "":
		return Stop{}, fmt.Errorf("%w: %s", ErrNoLocal, v.Protocol)
	}
	o, err := v.Account.Owner()
	if err != nil {
		return Stop{}, err
	}
	x := &Exec{
		Program: command, Speaks: p.Speaks, User: cmp.Or(v.Account.Place.User, v.Account.Name),
		UID: o.UID, GID: o.GID, Home: o.Home, Mail: o.Mail, Attrs: v.Account.Attrs,
	}
	return Stop{Backend: LocalName, Addr: command, Exec: x, ConnectTimeout: t.Local.Timeout}, nil
}

// home sends a login to the node that has the mailbox.
func (t *Table) home(v Visit) (Target, error) {
	hosts := v.Account.Place.Hosts
	if len(hosts) == 0 || v.Account.Place.Here || t.stays(v.Protocol) {
		return t.local(v)
	}
	for _, host := range hosts {
		if _, node := t.node(host); !node && !t.isHere(host) {
			return nil, fmt.Errorf("%w: %q", ErrNotHome, host)
		}
	}
	return t.dial(v, hosts...)
}

// inPool is the stop of a host that is this machine or another node of the pool.
func (t *Table) inPool(v Visit, host string) (s Stop, ours bool, err error) {
	if _, named := t.Backends[host]; named {
		return s, false, nil
	}
	name, isNode := t.node(host)
	switch {
	case isNode && !t.Nodes[name].Own:
		return Stop{Backend: PoolName, Addr: t.Nodes[name].Addr, Node: name, ConnectTimeout: t.Backends[Default].ConnectTimeout}, true, nil
	case isNode, t.isHere(host) && v.Account.Place.Port == 0:
		s, err = t.exec(v)
		return s, err == nil, err
	}
	return s, false, nil
}

// node finds the node that a host means: by its name, or by the address at which the
// others reach it, whatever the port there.
func (t *Table) node(host string) (name string, ok bool) {
	if _, ok := t.Nodes[host]; ok {
		return host, true
	}
	names := make([]string, 0, len(t.Nodes))
	for n := range t.Nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if at, _, err := net.SplitHostPort(t.Nodes[n].Addr); err == nil && at == host {
			return n, true
		}
	}
	return "", false
}

func (t *Table) isHere(host string) bool {
	return t.Local != nil && t.Local.Is != nil && t.Local.Is(host)
}
