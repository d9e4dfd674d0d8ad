package login

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"usher/internal/proxyheader"
	"usher/internal/session"
)

// An Origin is what is known of a client beyond its own connection: what front
// ends tell that are believed, and what it says of itself.
type Origin struct {
	Trusted  bool           // the peer is believed what it tells of clients
	Peer     netip.AddrPort // who is connected to us: the client, or a front end
	Ext      string         // what the front end calls the session; "": it has not said
	CertName string         // the name in the client's certificate, which the front end has verified

	transport  string // of the client: a version of TLS, or insecure; "": as its connection to us shows
	serverName string // that the client has asked the front end for
	forward    []Pair // what the front end wants the backend to know
	onward     []Pair // what a trusted backend is told of that, and of the account
	own        []Pair // what the client says of itself: RFC 2971
	hops       int    // proxies that the login has passed before us
	node       string // of the pool, that vouches for the client; "": it came otherwise
}

// A Pair is a name and a value.
type Pair struct{ Name, Value string }

// A Fact is one of the things that proxies tell each other of a client. Each
// protocol has names for them.
type Fact int

// The facts.
const (
	FactID Fact = iota
	FactAddr
	FactPort
	FactLocalAddr
	FactLocalPort
	FactTTL
	FactTransport
	FactServerName
)

// What is said of a client's transport, as Dovecot says it.
const (
	encrypted = "TLS"
	insecure  = "insecure"
)

// Bounds of what is told: RFC 2971 §3.3.
const (
	MaxPairs = 30
	MaxName  = 30
	MaxValue = 1024
)

var (
	// ErrFact says that a peer tells what makes no sense.
	ErrFact = errors.New("a value that makes no sense")
	// ErrFull says that there is no room for a client of this address.
	ErrFull = errors.New("too many connections")
)

// Told takes a fact. A peer that is not trusted is not listened to, but for the
// hop count: it can only bring the end nearer, and that is its own affair.
func (c *Client) Told(f Fact, value string) (err error) {
	if !c.Trusted && f != FactTTL {
		return nil
	}
	switch f {
	case FactID:
		if proxyheader.IsID(value) {
			c.Ext = value
		}
	case FactAddr:
		if c.Remote, err = withAddr(c.Remote, value); err == nil {
			err = c.count()
		}
	case FactPort:
		c.Remote, err = withPort(c.Remote, value)
	case FactLocalAddr:
		c.Local, err = withAddr(c.Local, value)
	case FactLocalPort:
		c.Local, err = withPort(c.Local, value)
	case FactTTL:
		c.hops, err = hopsBefore(value, c.hops)
	case FactTransport:
		c.transport = encrypted
		if strings.EqualFold(value, insecure) {
			c.transport = insecure
		}
	case FactServerName:
		if proxyheader.IsName(value) {
			c.serverName = value
		}
	}
	return err
}

// count counts the client under the address that it turned out to have.
func (c *Client) count() error {
	c.Record.From(c.Remote.Addr())
	if c.Counted != nil && c.Counted(c.Remote.Addr()) != nil {
		return ErrFull
	}
	return nil
}

func withAddr(a netip.AddrPort, text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" { // a zone means something on another machine
		return a, ErrFact
	}
	return netip.AddrPortFrom(addr.Unmap(), a.Port()), nil
}

func withPort(a netip.AddrPort, text string) (netip.AddrPort, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return a, ErrFact
	}
	return netip.AddrPortFrom(a.Addr(), uint16(port)), nil
}

// Forwarded takes a field that a front end wants to reach the backend.
func (c *Client) Forwarded(p Pair) {
	if c.Trusted {
		c.forward = withPair(c.forward, p)
	}
}

// Forward are the fields that a front end wants to reach the backend.
func (c *Client) Forward() []Pair { return c.forward }

// Says takes what a client says of itself, in place of what it said before.
func (c *Client) Says(pairs []Pair) {
	c.own = nil
	for _, p := range pairs {
		c.own = withPair(c.own, p)
	}
}

// withPair adds a pair, or puts it in the place of one of its name.
func withPair(list []Pair, p Pair) []Pair {
	if p.Name == "" || len(p.Name) > MaxName || len(p.Value) > MaxValue {
		return list
	}
	for i, old := range list {
		if strings.EqualFold(old.Name, p.Name) {
			list[i] = p
			return list
		}
	}
	if len(list) == MaxPairs {
		return list
	}
	return append(list, p)
}

// Introduce takes what a load balancer says of a client. What it does not say
// stays as the connection shows it.
func (c *Client) Introduce(h proxyheader.Header) {
	if h.Remote.IsValid() {
		c.Remote, c.Local = h.Remote, h.Local
	}
	c.Record.From(c.Remote.Addr())
	c.Ext, c.CertName, c.transport, c.serverName = h.ID, h.CertName, h.TLS, h.ServerName
}

// front is what the client came by; nil: it came straight.
func (c *Client) front() *session.Front {
	if c.node == "" && c.Ext == "" && (c.Peer == c.Remote || !c.Peer.IsValid()) {
		return nil
	}
	return &session.Front{Addr: c.Peer, Node: c.node, Ext: c.Ext}
}

// header is what backends are told that read PROXY headers.
func (c *Client) header() proxyheader.Header {
	h := proxyheader.Header{Remote: c.Remote, Local: c.Local, ServerName: c.askedFor(), CertName: c.CertName, ID: c.sessionID()}
	if c.encrypted() {
		h.TLS = tlsName(c)
	}
	return h
}

// sessionID is what backends are told: the first proxy's, so that one ID names the
// session in all logs.
func (c *Client) sessionID() string {
	if c.Ext != "" {
		return c.Ext
	}
	return c.ID.String()
}

// encrypted tells whether the client's own connection is under TLS, wherever that
// ends.
func (c *Client) encrypted() bool {
	if c.transport != "" {
		return c.transport != insecure
	}
	return c.Conn.TLS() != nil
}

// askedFor is the server's name that the client has asked for by TLS.
func (c *Client) askedFor() string {
	if state := c.Conn.TLS(); c.serverName == "" && state != nil {
		return state.ServerName
	}
	return c.serverName
}
