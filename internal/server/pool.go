package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"usher/internal/backend"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/peer"
	"usher/internal/pool"
	"usher/internal/relay"
	"usher/internal/route"
)

const (
	nodeStep    = 10 * time.Second    // for a node to take what it is told
	expiresSoon = 30 * 24 * time.Hour // when an administrator should know
)

// pool translates [pool]: the way to other nodes, and the door for them.
func (b *builder) pool(h *house, builds *pool.Builds, troubles *peer.Troubles, backends *backend.Opener) {
	if len(b.cfg.Pool.Nodes) == 0 {
		if p := b.cfg.Pool; string(p.Cert)+p.Node+p.Listen != "" {
			b.wrong("write nodes = { mx1 = \"10.0.0.1:7143\", … }", "pool.nodes", "a pool has nodes")
		}
		return
	}
	if !b.poolNodes() {
		return
	}
	n := b.node(builds)
	if n == nil {
		return
	}
	h.node, h.peers = n, n.Peers(backend.Dialer())
	h.peers.Client = relay.Client
	backends.Visit = func(ctx context.Context, s route.Stop) (*tls.Conn, error) {
		return h.peers.Visit(ctx, s.Node, s.Preface)
	}
	t := h.desk.Routes
	t.Nodes = map[string]route.Node{}
	for name, addr := range n.Nodes {
		t.Nodes[name] = route.Node{Addr: addr, Own: name == n.Name, Timeout: n.Timeout}
	}
	b.poolDoor(h, troubles)
}

// poolNodes looks at the names and addresses of the nodes.
func (b *builder) poolNodes() bool {
	p, before := b.cfg.Pool, len(b.mistakes)
	for _, name := range slices.Sorted(maps.Keys(p.Nodes)) {
		key := "pool.nodes." + name
		if host, port, err := net.SplitHostPort(p.Nodes[name]); err != nil || host == "" || port == "" || port == "0" {
			b.wrong("write it as \"10.0.0.1:7143\"", key, "%q is no address with a port that the other nodes could reach", p.Nodes[name])
		}
		if name == route.Default || name == route.LocalName || name == route.PoolName {
			b.wrong("choose another name", key, "%q is no name for a node: it stands for something else in logs and routes", name)
		}
		if _, taken := b.cfg.Backend[name]; taken {
			b.wrong("call one of them otherwise", key, "there is a [backend.%s], too: host = %q would mean that", name, name)
		}
	}
	if _, named := b.cfg.Backend[route.PoolName]; named {
		b.wrong("give it another name", "backend."+route.PoolName, "this name stands for the nodes of [pool]")
	}
	for i, v := range p.Vouch {
		for k, name := range v.Nodes {
			if _, ok := p.Nodes[name]; !ok {
				b.wrong("use a name of nodes", fmt.Sprintf("pool.vouch[%d].nodes[%d]", i, k), "there is no node %q", name)
			}
		}
	}
	for _, file := range []struct{ key, name string }{{"cert", string(p.Cert)}, {"key", string(p.Key)}, {"ca", string(p.CA)}} {
		if file.name == "" {
			b.wrong("make the files with usher pool init and usher pool add, or by another PKI", "pool."+file.key, "a pool needs cert, key and ca")
		}
	}
	return len(b.mistakes) == before
}

// node finds out which node this machine is; nil: that was not possible.
func (b *builder) node(builds *pool.Builds) *pool.Node {
	p := b.cfg.Pool
	s := pool.Settings{
		Nodes: p.Nodes, Self: p.Node, Cert: string(p.Cert), Key: string(p.Key), CA: string(p.CA),
		Leeway: time.Duration(p.ClockLeeway), Timeout: time.Duration(p.Timeout), Warm: p.Warm,
	}
	for _, v := range p.Vouch {
		s.Rules = append(s.Rules, pool.Rule{Nodes: v.Nodes, Users: v.Users, Domains: v.Domains})
	}
	n, err := pool.New(s, b.log, builds)
	if err != nil {
		b.wrong("check cert, key and ca, that usher may read them, and the names of nodes; usher pool add makes them", "pool.cert", "%v", err)
		return nil
	}
	b.validity(n)
	if open, err := othersRead(string(p.Key)); err == nil && open {
		b.warn("chmod 600 the file", "pool.key", "others can read the key of this node: whoever has it is this node")
	}
	return n
}

// validity looks at our own certificate as the other nodes will.
func (b *builder) validity(n *pool.Node) {
	until, err := n.Valid()
	switch {
	case errors.Is(err, pool.ErrExpired):
		b.warn("renew it with usher pool add", "pool.cert", "no other node takes this node in: "+err.Error())
	case err != nil:
		b.wrong("have it signed by the authority in ca, for servers and clients: usher pool add does", "pool.cert", "no other node would take this node in: %v", err)
	case time.Until(until) < expiresSoon:
		b.warn("renew it with usher pool add", "pool.cert", "the certificate of this node expires on "+until.UTC().Format(time.DateOnly))
	}
}

func othersRead(file string) (bool, error) {
	info, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	return info.Mode()&fs.FileMode(0o044) != 0, nil
}

// poolDoor is where other nodes come in.
func (b *builder) poolDoor(h *house, troubles *peer.Troubles) {
	addr := b.cfg.Pool.Listen
	if addr == "" {
		addr = h.node.Nodes[h.node.Name]
	}
	if _, _, err := net.SplitHostPort(addr); err != nil && !strings.HasPrefix(addr, fromSystemd) {
		b.wrong("write it as \":7143\" or \"10.0.0.1:7143\"", "pool.listen", "%q is no address with a port", addr)
	}
	door := peer.Protocol{Node: h.node, Protocols: protocols, Log: b.log, Troubles: troubles}
	h.services = append(h.services, service{port: "pool " + addr, addr: addr, Service: &listen.Service{
		Protocol: door, Terms: login.Terms{Hostname: b.hostname(), TLS: h.node.ServerConfig()},
		Desk: h.desk, Limits: h.desk.Limits, Refusals: b.refusals, Traces: b.traces, Log: b.log,
		Bounds: listen.Bounds{Command: nodeStep}, Trusted: nodeAddresses(h.node),
	}})
}

// nodeAddresses are those of the nodes: many clients come from there, and none of them
// counts under that address.
func nodeAddresses(n *pool.Node) (list []netip.Prefix) {
	for _, host := range n.Hosts() {
		if p, err := parseNetwork(host); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// examinePool asks each other node whether it takes this one in.
func (h *house) examinePool(ctx context.Context, report func(string, error)) {
	if h.node == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(h.node.Nodes)) {
		if name == h.node.Name {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, examineTime)
		report(fmt.Sprintf("node %s of the pool, %s", name, h.node.Nodes[name]), h.peers.Try(ctx, name))
		cancel()
	}
}

// meet begins to have connections to the other nodes ready.
func (h *house) meet() {
	if h.node != nil {
		h.peers.Open()
	}
}

// part ends that, and sends away the nodes that wait for somebody to vouch for: by
// another house they may be none of the pool any more.
func (h *house) part() {
	if h.node != nil {
		h.peers.Close()
		h.node.Leave()
	}
}
