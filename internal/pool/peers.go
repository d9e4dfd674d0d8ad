package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	connectTime = 5 * time.Second  // to reach a node, with the handshake
	freshFor    = 4 * time.Minute  // how long a connection stands ready
	lookAfter   = 15 * time.Second // how often those that stand ready are looked at
	mostPause   = time.Minute      // between attempts to reach a node
)

// Awaits is how long a node waits for the voucher on a connection: longer than one
// stands ready, so that it is the one who dials that ends it.
const Awaits = 2 * freshFor

// Peers are the connections to the other nodes. Some stand ready, so that a login need
// not wait for a handshake.
type Peers struct {
	// Dial reaches an address.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Client begins TLS over a connection.
	Client func(nc net.Conn, cfg *tls.Config, ahead ...byte) *tls.Conn

	node  *Node
	peers map[string]*peer
	end   context.CancelFunc
	all   sync.WaitGroup
}

// A peer is one of the other nodes.
type peer struct {
	*Peers
	name, addr string
	tls        *tls.Config
	again      *tls.Config   // of those that go on with an earlier session
	taken      chan struct{} // one stands ready no more

	mu    sync.Mutex
	ready []ready // the oldest first
	away  bool    // it could not be reached when that was tried last
}

// ready is a connection that stands ready.
type ready struct {
	conn  *tls.Conn
	raw   net.Conn
	until time.Time
}

// Peers returns connections to the other nodes. Open begins to have some ready.
func (n *Node) Peers(d *net.Dialer) *Peers {
	p := &Peers{node: n, peers: map[string]*peer{}, Dial: d.DialContext, Client: plain}
	for name, addr := range n.Nodes {
		if name != n.Name {
			one := &peer{Peers: p, name: name, addr: addr, tls: n.clientConfig(name), taken: make(chan struct{}, 1)}
			one.again = one.tls.Clone()
			one.again.CurvePreferences = []tls.CurveID{quickest()}
			p.peers[name] = one
		}
	}
	return p
}

// plain is for connections that are not relayed.
func plain(nc net.Conn, cfg *tls.Config, _ ...byte) *tls.Conn { return tls.Client(nc, cfg) }

// Open has connections stand ready from now on, until Close.
func (p *Peers) Open() {
	var ctx context.Context
	ctx, p.end = context.WithCancel(context.Background())
	if p.node.Warm == 0 {
		return
	}
	for _, one := range p.peers {
		p.all.Go(func() { one.keep(ctx) })
	}
}

// Close closes what stands ready. What was visited goes on.
func (p *Peers) Close() {
	if p == nil || p.end == nil {
		return
	}
	p.end()
	p.all.Wait()
}

// Visit returns a connection to a node on which the voucher has been sent. It is one that
// Client has made.
func (p *Peers) Visit(ctx context.Context, node string, voucher []byte) (*tls.Conn, error) {
	one, ok := p.peers[node]
	if !ok {
		return nil, fmt.Errorf("%q is no other node of [pool]", node)
	}
	for {
		c, isReady, err := one.get(ctx)
		if err != nil {
			return nil, err
		}
		by, _ := ctx.Deadline()
		_ = c.SetWriteDeadline(by)
		_, err = c.Write(voucher)
		if err == nil {
			return c, nil
		}
		_ = c.Close()
		if !isReady {
			return nil, fmt.Errorf("voucher: %w", err)
		}
	}
}

// Try tells whether a node can be reached and takes us for one of its pool.
func (p *Peers) Try(ctx context.Context, node string) error {
	c, err := p.peers[node].reach(ctx)
	if err != nil {
		return err
	}
	return c.conn.Close()
}

// get is a connection that stands ready, or else a new one.
func (p *peer) get(ctx context.Context) (c *tls.Conn, isReady bool, err error) {
	if r, ok := p.take(); ok {
		return r.conn, true, nil
	}
	r, err := p.reach(ctx)
	return r.conn, false, err
}

// take is the connection that has stood ready for longest, if it still does.
func (p *peer) take() (ready, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.wake()
	for len(p.ready) > 0 {
		r := p.ready[0]
		p.ready = p.ready[1:]
		if r.fresh() {
			return r, true
		}
		_ = r.conn.Close()
	}
	return ready{}, false
}

func (r ready) fresh() bool { return time.Now().Before(r.until) && silent(r.raw) }

// wake tells keep that there is something to do.
func (p *peer) wake() {
	select {
	case p.taken <- struct{}{}:
	default:
	}
}

// keep is the goroutine of one node: it has connections ready.
func (p *peer) keep(ctx context.Context) {
	defer p.drop(func(ready) bool { return true })
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.taken:
		case <-timer.C:
		}
		p.drop(func(r ready) bool { return !r.fresh() })
		next := lookAfter
		if err := p.fill(ctx); err != nil {
			next, pause = pause, min(2*pause, mostPause)
			p.rest(ctx, next) // takes that come meanwhile are served as they come
			next = 0
		} else {
			pause = time.Second
		}
		timer.Reset(next)
	}
}

// rest waits, unless ctx ends.
func (p *peer) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// fill makes as many stand ready as should.
func (p *peer) fill(ctx context.Context) error {
	for p.missing() && ctx.Err() == nil {
		r, err := p.reach(ctx)
		p.tell(ctx, err)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.ready = append(p.ready, r)
		p.mu.Unlock()
	}
	return nil
}

func (p *peer) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready) < p.node.Warm
}

// drop closes those that stand ready and shall not.
func (p *peer) drop(which func(ready) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.ready[:0:0]
	for _, r := range p.ready {
		if which(r) {
			_ = r.conn.Close()
		} else {
			kept = append(kept, r)
		}
	}
	p.ready = kept
}

// tell says once that a node cannot be reached, and once that it can again.
func (p *peer) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !p.away:
		p.away = true
		p.node.log.Warn("a node of the pool cannot be reached, it is tried again", "node", p.name, "addr", p.addr, "err", err)
	case err == nil && p.away:
		p.away = false
		p.node.log.Info("a node of the pool can be reached again", "node", p.name, "addr", p.addr)
	}
}

// reach makes a connection that stands ready. If a handshake fails that goes on with an
// earlier session, what we are known by may have changed since: another begins anew.
func (p *peer) reach(ctx context.Context) (ready, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	earlier, _ := p.tls.ClientSessionCache.Get(p.name)
	r, err := p.dial(ctx)
	if err != nil {
		p.tls.ClientSessionCache.Put(p.name, nil)
	}
	if err != nil && earlier != nil && ctx.Err() == nil && !isDial(err) {
		r, err = p.dial(ctx)
	}
	return r, err
}

func isDial(err error) bool {
	op, is := errors.AsType[*net.OpError](err)
	return is && op.Op == "dial"
}

// dial connects, shakes hands, and waits until the other node says that it takes us in:
// in TLS 1.3 the client's end is ready before the server has looked at its certificate.
func (p *peer) dial(ctx context.Context) (ready, error) {
	raw, err := p.Dial(ctx, "tcp", p.addr)
	if err != nil {
		return ready{}, err
	}
	config := p.config()
	c := p.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return ready{}, explain(err)
	}
	by, _ := ctx.Deadline()
	_ = c.SetDeadline(by)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	build, err := readHello(c)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close()
		return ready{}, explain(err)
	}
	if config == p.again && !c.ConnectionState().DidResume {
		p.tls.ClientSessionCache.Put(p.name, nil) // the next handshake is a whole one
	}
	_ = c.SetDeadline(time.Time{})
	p.node.Heard(p.name, build)
	return ready{c, raw, time.Now().Add(freshFor)}, nil
}

// config is TLS for the next handshake. One that goes on with an earlier session takes
// its keys from that one too, which had the key exchange that no quantum computer breaks:
// to do that again, each time, would cost more than all the rest of a handshake.
func (p *peer) config() *tls.Config {
	if earlier, _ := p.tls.ClientSessionCache.Get(p.name); earlier != nil {
		return p.again
	}
	return p.tls
}

// quickest is the key exchange of handshakes that go on with an earlier session: P-256 where
// Go has it in assembler, which takes 20 µs less than X25519 at either end.
func quickest() tls.CurveID {
	switch runtime.GOARCH {
	case "amd64", "arm64", "ppc64le", "s390x":
		return tls.CurveP256
	}
	return tls.X25519
}

// explain says in our words what TLS says by a number.
func explain(err error) error {
	remote, is := errors.AsType[*net.OpError](err)
	if !is || remote.Op != "remote error" {
		return fmt.Errorf("handshake: %w", err)
	}
	if strings.Contains(remote.Err.Error(), "application protocol") {
		return fmt.Errorf("handshake: the node does not speak %s: the nodes of a pool must run builds of usher that fit together", Protocol)
	}
	return fmt.Errorf("the node does not take us for one of its pool (%w): see its log", remote.Err)
}
