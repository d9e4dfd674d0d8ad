// Package route decides where an account's login goes. It does no I/O of its
// own: given the same table and account it gives the same answer.
package route

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/account"
)

// A Target is where a login goes: a Dial.
type Target interface{ Name() string }

// A Backend is one [backend.NAME] of the configuration.
type Backend struct {
	Addrs          map[string][]string // by protocol: host or host:port; "" serves the others
	TLS            account.TLSMode
	Config         *tls.Config
	ConnectTimeout time.Duration
	Timeout        time.Duration
	Master         string // with MasterPassword; "": logs in as the user
	MasterPassword string
	Separator      string // "*": the master's name stands behind the user's, as user*master; "": it has one of its own
	Token          bool   // logs in as the user, with a token that is made for it
	Mechanism      string
	Trusted        bool // is told who the client is, in its own protocol
	ProxyProtocol  int  // version of the PROXY header that it reads; 0: none
}

// Default names the backend whose settings hold for hosts that are no backend's
// name, and to whose addresses accounts without a host go.
const Default = "default"

// Ports are a protocol's own: in clear and under TLS.
type Ports struct{ Clear, TLS uint16 }

// A Table holds all that decides.
type Table struct {
	Ports    map[string]Ports // by protocol
	Backends map[string]Backend
	Rules    []Rule
	Local    *Local          // nil: this machine starts no mail programs
	Nodes    map[string]Node // of the pool, by name, this one too
}

// Where a rule may send besides a backend.
const (
	ToAccount = "account" // to the account's own host
	ToLocal   = "local"   // to a program of this machine
	ToHome    = "home"    // to the account's own host, which must be a node of the pool or this machine
	ToRefuse  = "refuse"
)

// A Visit is a login that asks where to go.
type Visit struct {
	Protocol string
	Remote   netip.Addr
	Account  *account.Account
	Program  string // of [local], as a rule has chosen it; "": the account's, or the default
}

// Leads tells whether an account without a host can be served at all.
func (t *Table) Leads() bool {
	elsewhere := func(r Rule) bool { return r.To != ToAccount && r.To != ToHome && r.To != ToRefuse }
	return slices.ContainsFunc(t.Rules, elsewhere) || t.Local != nil || t.Backends[Default].HasAddr()
}

// Has tells whether the backend can be reached for a protocol.
func (b Backend) Has(protocol string) bool { return len(b.addrs(protocol)) > 0 }

// HasAddr tells whether the backend can be reached for some protocol.
func (b Backend) HasAddr() bool {
	for _, addrs := range b.Addrs {
		if len(addrs) > 0 {
			return true
		}
	}
	return false
}

var (
	// ErrNowhere says that no rule, no host and no default serves an account.
	ErrNowhere = errors.New("the account has no host, and no route, [local] or [backend.default] serves it")
	// ErrRefused says that a rule refuses the login.
	ErrRefused = errors.New("a route refuses this login")
)

// Place decides where a login goes. An error means that the configuration or
// the account is wrong, except ErrRefused.
func (t *Table) Place(v Visit) (Target, error) {
	switch rule, to := t.decide(v); to {
	case ToRefuse:
		return nil, ErrRefused
	case ToAccount:
		return t.account(v)
	case ToLocal:
		v.Program = t.Rules[rule].Program
		return t.local(v)
	case ToHome:
		return t.home(v)
	default:
		return t.dial(v, to)
	}
}

// decide returns where the first rule that matches sends a login, and which one it is;
// -1: none.
func (t *Table) decide(v Visit) (rule int, to string) {
	for i, r := range t.Rules {
		if r.matches(v) {
			return i, r.To
		}
	}
	return -1, ToAccount
}

// Why says in words what decides about a login.
func (t *Table) Why(v Visit) string {
	hosts := strings.Join(v.Account.Place.Hosts, ", ")
	switch rule, to := t.decide(v); {
	case rule >= 0 && to != ToAccount:
		return strings.TrimSuffix(fmt.Sprintf("[[route]] number %d: to %s, program %s", rule+1, to, t.Rules[rule].Program), ", program ")
	case v.Account.Place.Here && t.Local != nil:
		return "the account says proxy=N: this machine"
	case t.stays(v.Protocol):
		return t.Local.Stays[v.Protocol] + ": this machine"
	case hosts != "":
		return "the account's own host: " + hosts + t.whose(v)
	case t.Local != nil:
		return "no route and no host: this machine"
	default:
		return "no route and no host: [backend." + Default + "]"
	}
}

// account sends a login to the account's own hosts.
func (t *Table) account(v Visit) (Target, error) {
	switch hosts := v.Account.Place.Hosts; {
	case v.Account.Place.Here, t.stays(v.Protocol):
		return t.local(v)
	case len(hosts) > 0:
		return t.dial(v, hosts...)
	case t.Local != nil:
		return t.local(v)
	case len(t.Backends[Default].addrs(v.Protocol)) > 0:
		return t.dial(v, Default)
	}
	return nil, ErrNowhere
}

// Backend is the way to a backend for a client who has no account.
func (t *Table) Backend(protocol, name string) (Dial, error) {
	d, err := t.dial(Visit{Protocol: protocol, Account: &account.Account{}}, name)
	if err != nil {
		return Dial{}, err
	}
	return d.(Dial), nil
}

// dial makes a Dial of names that are backends or hosts.
func (t *Table) dial(v Visit, names ...string) (Target, error) {
	d := Dial{Timeout: v.Account.Place.Timeout}
	for _, name := range names {
		s, ours, err := t.inPool(v, name)
		if err != nil {
			return nil, err
		}
		if ours {
			d.Stops = append(d.Stops, s)
			continue
		}
		b, hosts, backend := t.settings(v.Protocol, name)
		if len(hosts) == 0 {
			return nil, fmt.Errorf("backend %q has no address for %s", name, v.Protocol)
		}
		for _, host := range hosts {
			s := b.stop(backend, v.Account)
			addr, err := t.address(v, s, host)
			if err != nil {
				return nil, err
			}
			s.Addr = addr
			d.Stops = append(d.Stops, s)
		}
		d.Timeout = cmp.Or(d.Timeout, b.Timeout)
	}
	return d, nil
}

// settings returns how to reach a name, and which hosts it stands for.
func (t *Table) settings(protocol, name string) (b Backend, hosts []string, backend string) {
	if b, ok := t.Backends[name]; ok {
		return b, b.addrs(protocol), name
	}
	return t.Backends[Default], []string{name}, Default
}

func (b Backend) addrs(protocol string) []string {
	if own := b.Addrs[protocol]; len(own) > 0 {
		return own
	}
	return b.Addrs[""]
}

// stop applies what the account says to the backend's settings.
func (b Backend) stop(name string, a *account.Account) Stop {
	p := a.Place
	s := Stop{
		Backend: name, TLS: b.TLS, Config: b.Config, AnyCert: p.AnyCert, ConnectTimeout: b.ConnectTimeout, SourceIP: p.SourceIP,
		Trusted: b.Trusted, ProxyProtocol: b.ProxyProtocol,
		Login: Login{User: cmp.Or(p.User, a.Name), Password: b.MasterPassword, Master: b.Master, Mechanism: cmp.Or(p.Mechanism, b.Mechanism), Token: b.Token},
	}
	if p.Password != "" { // the account's own way in, instead of the backend's master
		s.Login.Password, s.Login.Master, s.Login.Token = p.Password, p.Master, false
	}
	if b.Separator != "" && s.Login.Master != "" {
		s.Login.User, s.Login.Master = s.Login.User+b.Separator+s.Login.Master, ""
	}
	if p.TLS != account.TLSUnset {
		s.TLS = p.TLS
	}
	return s
}

// address completes a host with the port: its own, the account's, or the
// protocol's.
func (t *Table) address(v Visit, s Stop, host string) (string, error) {
	name, port, err := SplitHost(host)
	if err != nil {
		return "", err
	}
	if port == 0 {
		port = v.Account.Place.Port
	}
	if port == 0 {
		port = t.Ports[v.Protocol].Clear
		if s.TLS == account.TLSImplicit {
			port = t.Ports[v.Protocol].TLS
		}
	}
	return net.JoinHostPort(name, strconv.Itoa(int(port))), nil
}
