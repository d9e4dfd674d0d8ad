package pool

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Node is this machine as one of its pool. It is safe for concurrent use.
type Node struct {
	Name string
	Settings

	files  *files
	log    *slog.Logger
	builds *Builds
	now    func() time.Time

	mu       sync.Mutex
	verified map[seen]time.Time // chains that were found good, and until when that holds
	roots    *x509.CertPool     // by which they were
	waiting  map[string]int     // by node, or by address before that is known: connections that have not vouched for anybody yet

	left  context.Context // until it leaves the pool, or is a node by another configuration
	leave context.CancelFunc
}

// seen is a certificate that was looked at, for a use.
type seen struct {
	leaf [sha256.Size]byte
	use  x509.ExtKeyUsage
}

// New reads the files of a node and finds out which one it is. The errors say what to
// do.
func New(s Settings, log *slog.Logger, b *Builds) (*Node, error) {
	n := &Node{Settings: s, log: log, builds: b, now: time.Now, verified: map[seen]time.Time{}, waiting: map[string]int{}}
	n.left, n.leave = context.WithCancel(context.Background())
	n.files = &files{cert: s.Cert, key: s.Key, ca: s.CA, log: log, now: time.Now}
	if err := n.files.load(); err != nil {
		return nil, err
	}
	n.files.looked = n.now()
	leaf := n.files.loaded.cert.Leaf
	name, err := n.nameIn(leaf)
	switch {
	case s.Self != "" && s.Nodes[s.Self] == "":
		return nil, fmt.Errorf("node %q is not in nodes: %s", s.Self, names(slices.Sorted(maps.Keys(s.Nodes))))
	case s.Self != "" && !slices.Contains(leaf.DNSNames, s.Self):
		return nil, fmt.Errorf("the certificate %s is of %s, not of %q", s.Cert, names(leaf.DNSNames), s.Self)
	case s.Self != "":
		name = s.Self
	case err != nil:
		return nil, fmt.Errorf("%s: %w", s.Cert, err)
	}
	n.Name = name
	return n, nil
}

func names(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	return strings.Join(list, ", ")
}

// Valid tells whether the other nodes will take our own certificate, and until when it
// holds.
func (n *Node) Valid() (until time.Time, err error) {
	id := n.files.current()
	chain := []*x509.Certificate{id.cert.Leaf}
	for _, der := range id.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := id.verify(chain, use, n.now(), 0); err != nil {
			return chain[0].NotAfter, err
		}
	}
	return chain[0].NotAfter, nil
}

// nameIn is the node that a certificate is of: the one among its names (subject
// alternative names, DNS) that [pool] has.
func (n *Node) nameIn(c *x509.Certificate) (string, error) {
	found := slices.DeleteFunc(slices.Clone(c.DNSNames), func(name string) bool { return n.Nodes[name] == "" })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("the certificate is of %.200s: none of these is in nodes of [pool]", names(c.DNSNames))
	}
	return "", fmt.Errorf("the certificate is of several nodes: %.200s", names(found))
}

var (
	errNoCertificate = errors.New("the peer shows no certificate")
	errProtocol      = errors.New("the peer does not speak " + Protocol + ": the nodes of a pool must run builds of usher that fit together")
	errOurself       = errors.New("the certificate is this node's own: every node needs one of its own")
)

// Who tells which node is at the other end of a connection, if it is one.
func (n *Node) Who(state tls.ConnectionState, use x509.ExtKeyUsage) (string, error) {
	switch {
	case len(state.PeerCertificates) == 0:
		return "", errNoCertificate
	case state.NegotiatedProtocol != Protocol:
		return "", errProtocol
	}
	if err := n.verify(state.PeerCertificates, use); err != nil {
		return "", err
	}
	name, err := n.nameIn(state.PeerCertificates[0])
	if err == nil && name == n.Name {
		err = errOurself
	}
	return name, err
}

const (
	verifiedFor = time.Minute // how long a chain that was found good is not looked at again
	maxVerified = 1000
)

// verify verifies a chain, or remembers that it has: handshakes that go on with an
// earlier session show the same one again and again.
func (n *Node) verify(chain []*x509.Certificate, use x509.ExtKeyUsage) error {
	id, now := n.files.current(), n.now()
	key := seen{sha256.Sum256(chain[0].Raw), use}
	if n.remembers(key, id, now) {
		return nil
	}
	if err := id.verify(chain, use, now, n.Leeway); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.verified) < maxVerified {
		n.verified[key] = now.Add(verifiedFor)
	}
	return nil
}

// remembers tells whether a chain was found good lately, by the authorities of today.
func (n *Node) remembers(key seen, id *identity, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.roots != id.roots || len(n.verified) >= maxVerified {
		n.roots = id.roots
		clear(n.verified)
	}
	return now.Before(n.verified[key])
}

// base is what both ends of a connection have in common. The library's own verification
// knows no leeway, and the system's authorities are none of ours: Who verifies.
func (n *Node) base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
	}
}

// ServerConfig is TLS towards nodes that come.
func (n *Node) ServerConfig() *tls.Config {
	c := n.base()
	c.ClientAuth = tls.RequireAnyClientCert
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &n.files.current().cert, nil }
	c.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := n.Who(state, x509.ExtKeyUsageClientAuth)
		return err
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	c.SetSessionTicketKeys([][32]byte{key}) // else each connection would have keys of its own; they end with the node
	return c
}

// clientConfig is TLS towards one node.
func (n *Node) clientConfig(node string) *tls.Config {
	c := n.base()
	c.ServerName = node
	c.InsecureSkipVerify = true //nolint:gosec // VerifyConnection does it
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &n.files.current().cert, nil }
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	c.VerifyConnection = func(state tls.ConnectionState) error {
		who, err := n.Who(state, x509.ExtKeyUsageServerAuth)
		if err == nil && who != node {
			err = fmt.Errorf("the certificate is of node %s, not of %s: see nodes of [pool]", who, node)
		}
		return err
	}
	return c
}

// May tells whether a node may vouch for a user.
func (n *Node) May(node, user string) error { return n.may(node, user) }

const (
	maxShaking = 512 // handshakes with one address at a time
	maxWaiting = 256 // connections of one node that wait at a time for their voucher
)

// Shakes counts a handshake with an address, until done is called. ok is false if there
// are too many: the addresses of nodes have no other bounds.
func (n *Node) Shakes(addr string) (done func(), ok bool) { return n.count("at "+addr, maxShaking) }

// Waits counts a connection of a node that has not vouched for anybody yet, until done
// is called. ok is false if there are too many.
func (n *Node) Waits(node string) (done func(), ok bool) { return n.count(node, maxWaiting) }

func (n *Node) count(who string, most int) (done func(), ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting[who] >= most {
		return nil, false
	}
	n.waiting[who]++
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.waiting[who]--; n.waiting[who] == 0 {
			delete(n.waiting, who)
		}
	}), true
}

// Leave ends the waiting of those who have not vouched for anybody yet.
func (n *Node) Leave() { n.leave() }

// Left ends when the node has left.
func (n *Node) Left() context.Context { return n.left }

// Hello is what we say first to a node that comes.
func (n *Node) Hello() []byte { return hello(n.builds.Own) }

// Heard takes what another node says of its build.
func (n *Node) Heard(node, build string) { n.builds.heard(n.log, node, build) }

// Build is our own.
func (n *Node) Build() string { return n.builds.Own }
