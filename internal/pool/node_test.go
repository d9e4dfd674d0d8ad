package pool

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A log may be read while it is written.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// authority makes one in a folder of its own.
func authority(t testing.TB) Authority {
	a := Authority{Dir: t.TempDir(), Now: func() time.Time { return time.Now().AddDate(0, -1, 0) }, Force: true}
	if err := a.Init(); err != nil {
		t.Fatal(err)
	}
	a.Now = time.Now
	return a
}

// settings are those of a node that the authority has signed for.
func settings(t testing.TB, a Authority, node string, addrs map[string]string) Settings {
	t.Helper()
	cert, key, err := a.Add(node, 10)
	if err != nil {
		t.Fatal(err)
	}
	return Settings{Nodes: addrs, Cert: cert, Key: key, CA: filepath.Join(a.Dir, AuthorityCert), Leeway: 5 * time.Minute}
}

func newNode(t testing.TB, s Settings, log io.Writer, build string) *Node {
	t.Helper()
	n, err := New(s, slog.New(slog.NewTextHandler(log, nil)), &Builds{Own: build})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A door is where a node takes others in; it says hello and keeps what it is told.
type door struct {
	addr   string
	config *tls.Config
	hello  []byte

	mu     sync.Mutex
	errs   []error
	states []tls.ConnectionState
	open   []net.Conn
	told   chan string
}

func (n *Node) door(t testing.TB) *door {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{addr: ln.Addr().String(), config: n.ServerConfig(), hello: n.Hello(), told: make(chan string, 100)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { d.serve(nc) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); d.hangUp(); all.Wait() })
	return d
}

func (d *door) serve(nc net.Conn) {
	c := tls.Server(nc, d.config)
	d.mu.Lock()
	d.open = append(d.open, nc)
	d.mu.Unlock()
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	err := c.Handshake()
	d.mu.Lock()
	d.errs, d.states = append(d.errs, err), append(d.states, c.ConnectionState())
	d.mu.Unlock()
	if err != nil {
		return
	}
	_, _ = c.Write(d.hello)
	if v, err := Read(c); err == nil {
		d.told <- v.Account.Name
		_, _ = io.WriteString(c, "* PREAUTH\r\n")
		_, _ = io.Copy(io.Discard, c)
	}
}

// hangUp ends all connections.
func (d *door) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, nc := range d.open {
		_ = nc.Close()
	}
	d.open = nil
}

func (d *door) last() (tls.ConnectionState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.errs) == 0 {
		return tls.ConnectionState{}, nil
	}
	return d.states[len(d.states)-1], d.errs[len(d.errs)-1]
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, isTrue func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !isTrue(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never became true that %s", what)
		}
	}
}

// two are nodes of one pool: mx1, which calls, and mx2's door.
func two(t testing.TB, warm int) (p *Peers, d *door, log *logText) {
	a, log := authority(t), &logText{}
	addrs := map[string]string{"mx1": "127.0.0.1:1", "mx2": "127.0.0.1:2"}
	d = newNode(t, settings(t, a, "mx2", addrs), log, "b2").door(t)
	addrs = map[string]string{"mx1": "127.0.0.1:1", "mx2": d.addr}
	s := settings(t, a, "mx1", addrs)
	s.Warm = warm
	p = newNode(t, s, log, "b1").Peers(&net.Dialer{})
	t.Cleanup(p.Close)
	return p, d, log
}

func TestANodeIsTakenInWithAVoucher(t *testing.T) {
	p, d, log := two(t, 0)
	for _, exchange := range []tls.CurveID{tls.X25519MLKEM768, quickest()} {
		c, err := p.Visit(t.Context(), "mx2", encoded(t, ann()))
		if err != nil {
			t.Fatal(err)
		}
		if got := <-d.told; got != "ann@example.org" {
			t.Errorf("mx2 was told of %q", got)
		}
		state := c.ConnectionState()
		if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != Protocol {
			t.Errorf("%s by %q", tls.VersionName(state.Version), state.NegotiatedProtocol)
		}
		if state.CurveID != exchange {
			t.Errorf("keys are exchanged by %s, not by %s", state.CurveID, exchange)
		}
		_ = c.Close()
	}
	if state, _ := d.last(); !state.DidResume {
		t.Error("the second handshake did not go on with the session of the first")
	}
	if n := strings.Count(log.String(), "another build"); n != 1 || !strings.Contains(log.String(), "node=mx2 build=b2 own=b1") {
		t.Errorf("%d lines tell of another build:\n%s", n, log)
	}
}

func TestConnectionsStandReadyBeforeTheyAreNeeded(t *testing.T) {
	p, d, _ := two(t, 2)
	p.Open()
	peer := p.peers["mx2"]
	standing := func() int { peer.mu.Lock(); defer peer.mu.Unlock(); return len(peer.ready) }
	eventually(t, "two stand ready", func() bool { return standing() == 2 })
	dial := p.Dial
	p.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, addr)
	}
	c, err := p.Visit(t.Context(), "mx2", encoded(t, ann()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-d.told
	eventually(t, "two stand ready again", func() bool { return standing() == 2 })
	// The other node goes: what stood ready is not used.
	d.hangUp()
	eventually(t, "the ends have come", func() bool {
		peer.mu.Lock()
		defer peer.mu.Unlock()
		for _, r := range peer.ready {
			if silent(r.raw) {
				return false
			}
		}
		return true
	})
	again, err := p.Visit(t.Context(), "mx2", encoded(t, ann()))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	<-d.told
	p.Close()
	if n := standing(); n != 0 {
		t.Errorf("%d stand ready after the end", n)
	}
}

func TestANodeThatIsAwayIsToldOnceAndComesBack(t *testing.T) {
	p, d, log := two(t, 1)
	var away sync.Mutex
	gone := true
	dial := p.Dial
	p.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		away.Lock()
		defer away.Unlock()
		if gone {
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
		return dial(ctx, network, d.addr)
	}
	if _, err := p.Visit(t.Context(), "mx2", nil); err == nil {
		t.Error("a node that is away was visited")
	}
	p.Open()
	eventually(t, "it is told", func() bool { return strings.Contains(log.String(), "cannot be reached") })
	away.Lock()
	gone = false
	away.Unlock()
	eventually(t, "it is told again", func() bool { return strings.Contains(log.String(), "can be reached again") })
	if n := strings.Count(log.String(), "cannot be reached"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// caller is TLS as somebody comes who wants to be taken for a node.
type caller struct {
	name string
	make func(t *testing.T, a Authority, c *tls.Config)
	near string // what the door says of it
	far  string // what the caller hears; "": of no interest
}

func pair(t *testing.T, cert, key string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func signed(t *testing.T, a Authority, node string) []tls.Certificate {
	t.Helper()
	cert, key, err := a.Add(node, 10)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair(t, cert, key)}
}

func TestStrangersAreNotTakenIn(t *testing.T) {
	addrs := map[string]string{"mx1": "127.0.0.1:1", "mx2": "127.0.0.1:2"}
	for _, c := range []caller{
		{"no certificate", func(*testing.T, Authority, *tls.Config) {}, "didn't provide a certificate", ""},
		{"a foreign authority", func(t *testing.T, _ Authority, c *tls.Config) { c.Certificates = signed(t, authority(t), "mx1") }, "signed by unknown authority", "bad certificate"},
		{"a name that is no node's", func(t *testing.T, a Authority, c *tls.Config) { c.Certificates = signed(t, a, "mx9") }, "of mx9: none of these is in nodes", "bad certificate"},
		{"our own certificate", func(t *testing.T, a Authority, c *tls.Config) { c.Certificates = signed(t, a, "mx2") }, "this node's own", "bad certificate"},
		{"TLS 1.2", func(t *testing.T, a Authority, c *tls.Config) {
			c.Certificates, c.MaxVersion = signed(t, a, "mx1"), tls.VersionTLS12
		}, "unsupported version", "protocol version"},
		{"another version of the protocol", func(t *testing.T, a Authority, c *tls.Config) {
			c.Certificates, c.NextProtos = signed(t, a, "mx1"), []string{"usher-pool/2"}
		}, "unsupported application protocol", "no application protocol"},
		{"no protocol", func(t *testing.T, a Authority, c *tls.Config) {
			c.Certificates, c.NextProtos = signed(t, a, "mx1"), nil
		}, "does not speak usher-pool/1", "bad certificate"},
		{"expired yesterday", func(t *testing.T, a Authority, c *tls.Config) {
			a.Now = func() time.Time { return time.Now().Add(-24 * time.Hour * 11) }
			c.Certificates = signed(t, a, "mx1")
		}, "expired or not valid yet", "bad certificate"},
		{"valid from tomorrow", func(t *testing.T, a Authority, c *tls.Config) {
			a.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
			c.Certificates = signed(t, a, "mx1")
		}, "expired or not valid yet", "bad certificate"},
		{"the authority itself", func(t *testing.T, a Authority, c *tls.Config) {
			c.Certificates = []tls.Certificate{pair(t, filepath.Join(a.Dir, AuthorityCert), filepath.Join(a.Dir, AuthorityKey))}
		}, "none of these is in nodes", "bad certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := authority(t)
			d := newNode(t, settings(t, a, "mx2", addrs), io.Discard, "").door(t)
			cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{Protocol}}
			c.make(t, a, cfg)
			nc, err := tls.Dial("tcp", d.addr, cfg)
			if err == nil {
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = readHello(nc)
				_ = nc.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.far) {
				t.Errorf("the caller heard %v", err)
			}
			eventually(t, "the door has seen it", func() bool { _, err := d.last(); return err != nil })
			if _, err := d.last(); !strings.Contains(err.Error(), c.near) {
				t.Errorf("the door says: %v", err)
			}
		})
	}
}

func TestANodeIsNotFooledByWhoAnswers(t *testing.T) {
	addrs := map[string]string{"mx1": "127.0.0.1:1", "mx2": "127.0.0.1:2", "mx3": "127.0.0.1:3"}
	for name, c := range map[string]struct {
		server func(a Authority) *door
		want   string
	}{
		"another node": {func(a Authority) *door { return newNode(t, settings(t, a, "mx3", addrs), io.Discard, "").door(t) }, "is of node mx3, not of mx2"},
		"a foreign authority": {func(Authority) *door {
			return newNode(t, settings(t, authority(t), "mx2", addrs), io.Discard, "").door(t)
		}, "unknown authority"},
		"another version": {func(a Authority) *door {
			d := newNode(t, settings(t, a, "mx2", addrs), io.Discard, "").door(t)
			d.config.NextProtos = []string{"usher-pool/2"}
			return d
		}, "does not speak usher-pool/1"},
		"one that is not ready": {func(a Authority) *door {
			d := newNode(t, settings(t, a, "mx2", addrs), io.Discard, "").door(t)
			d.hello = []byte("* OK ready for mail\r\n")
			return d
		}, "first words"},
		"one that has no mx1": {func(a Authority) *door {
			return newNode(t, settings(t, a, "mx2", map[string]string{"mx2": "x:1"}), io.Discard, "").door(t)
		}, "does not take us for one of its pool"},
	} {
		t.Run(name, func(t *testing.T) {
			a := authority(t)
			d := c.server(a)
			p := newNode(t, settings(t, a, "mx1", map[string]string{"mx1": "127.0.0.1:1", "mx2": d.addr, "mx3": "127.0.0.1:3"}), io.Discard, "").Peers(&net.Dialer{})
			if err := p.Try(t.Context(), "mx2"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestClocksMayDiffer(t *testing.T) {
	a := authority(t)
	addrs := map[string]string{"mx1": "127.0.0.1:1", "mx2": "127.0.0.1:2"}
	n := newNode(t, settings(t, a, "mx2", addrs), io.Discard, "")
	other := newNode(t, settings(t, a, "mx1", addrs), io.Discard, "").files.loaded.cert.Leaf
	verify := func(at time.Time) error {
		n.now = func() time.Time { return at }
		n.files.now = n.now
		clear(n.verified)
		return n.verify([]*x509.Certificate{other}, x509.ExtKeyUsageClientAuth)
	}
	for _, c := range []struct {
		at   time.Time
		good bool
	}{
		{other.NotBefore.Add(-4 * time.Minute), true},
		{other.NotBefore.Add(-6 * time.Minute), false},
		{other.NotAfter.Add(4 * time.Minute), true},
		{other.NotAfter.Add(6 * time.Minute), false},
	} {
		if err := verify(c.at); (err == nil) != c.good {
			t.Errorf("at %s, of a certificate from %s to %s: %v", c.at, other.NotBefore, other.NotAfter, err)
		} else if err != nil && !strings.Contains(err.Error(), "that of mx1 holds from") {
			t.Errorf("whose it is, the error does not say: %v", err)
		}
	}
}

func TestANewCertificateNeedsNoRestart(t *testing.T) {
	p, d, log := two(t, 0)
	if err := p.Try(t.Context(), "mx2"); err != nil {
		t.Fatal(err)
	}
	n := p.node
	a := Authority{Dir: filepath.Dir(n.Cert), Now: time.Now, Force: true}
	former := n.files.current().cert.Leaf.SerialNumber
	if _, _, err := a.Add("mx1", 20); err != nil {
		t.Fatal(err)
	}
	n.files.mu.Lock()
	n.files.looked = time.Time{}
	n.files.mu.Unlock()
	if err := p.Try(t.Context(), "mx2"); err != nil {
		t.Fatal(err)
	}
	if n.files.current().cert.Leaf.SerialNumber.Cmp(former) == 0 || !strings.Contains(log.String(), "certificate of this node renewed") {
		t.Errorf("the former certificate is in use:\n%s", log)
	}
	// What is half written leaves what was there.
	if err := os.WriteFile(n.Cert, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.files.mu.Lock()
	n.files.looked = time.Time{}
	n.files.mu.Unlock()
	if err := p.Try(t.Context(), "mx2"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "cannot look at the certificate") {
		t.Errorf("nothing tells of it:\n%s", log)
	}
	_ = d
}

// Sessions of TLS that were begun with what a node was known by before do not keep it
// from coming in with what it is known by now.
func TestANewAuthorityNeedsNoRestart(t *testing.T) {
	p, d, _ := two(t, 0)
	if err := p.Try(t.Context(), "mx2"); err != nil {
		t.Fatal(err)
	}
	n, a := p.node, Authority{Dir: filepath.Dir(p.node.Cert), Now: time.Now, Force: true}
	if err := a.Init(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"mx1", "mx2"} {
		if _, _, err := a.Add(node, 10); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both nodes know each other again", func() bool {
		n.files.mu.Lock()
		n.files.looked = time.Time{}
		n.files.mu.Unlock()
		return p.Try(t.Context(), "mx2") == nil && n.files.current().cert.Leaf.Issuer.CommonName != ""
	})
	if state, err := d.last(); err != nil || state.PeerCertificates[0].SerialNumber.Cmp(n.files.current().cert.Leaf.SerialNumber) != 0 {
		t.Errorf("mx2 has seen another certificate: %v", err)
	}
}

func TestWhichNodeThisIsSaysItsCertificate(t *testing.T) {
	a := authority(t)
	nodes := map[string]string{"mx1": "127.0.0.1:1", "mx2": "127.0.0.1:2"}
	s := settings(t, a, "mx1", nodes)
	if n := newNode(t, s, io.Discard, ""); n.Name != "mx1" {
		t.Errorf("it is %q", n.Name)
	}
	for want, change := range map[string]func(*Settings){
		"not in nodes":              func(s *Settings) { s.Self = "mx9" },
		`is of mx1, not of "mx2"`:   func(s *Settings) { s.Self = "mx2" },
		"none of these is in nodes": func(s *Settings) { s.Nodes = map[string]string{"mx2": "x:1"} },
		"no such file":              func(s *Settings) { s.CA = "nowhere" },
		"holds no certificate":      func(s *Settings) { s.CA = s.Key },
		"with key":                  func(s *Settings) { s.Key = filepath.Join(a.Dir, AuthorityKey) },
	} {
		wrong := s
		change(&wrong)
		if _, err := New(wrong, slog.New(slog.DiscardHandler), &Builds{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestANodeHasSoManyConnectionsWaitingAndNoMore(t *testing.T) {
	n := newNode(t, settings(t, authority(t), "mx1", map[string]string{"mx1": "x:1"}), io.Discard, "")
	var ends []func()
	for range maxWaiting {
		done, ok := n.Waits("mx2")
		if !ok {
			t.Fatal("too early")
		}
		ends = append(ends, done)
	}
	if _, ok := n.Waits("mx2"); ok {
		t.Error("one too many")
	}
	if done, ok := n.Waits("mx3"); !ok {
		t.Error("another node has to do with it")
	} else {
		done()
	}
	ends[0]()
	ends[0]()
	for range maxShaking {
		if _, ok := n.Shakes("192.0.2.7"); !ok {
			t.Fatal("too early")
		}
	}
	if _, ok := n.Shakes("192.0.2.7"); ok {
		t.Error("one handshake too many")
	}
	if _, ok := n.Waits("mx2"); !ok {
		t.Error("there is no place for who comes later")
	}
	if _, ok := n.Waits("mx2"); ok {
		t.Error("a place was given back twice")
	}
}

// With --force the authority's key would be gone.
func TestANodeDoesNotTakeTheAuthoritysPlace(t *testing.T) {
	a := authority(t)
	a.Force = true
	if _, _, err := a.Add("ca", 1); err == nil || !strings.Contains(err.Error(), "the authority's") {
		t.Errorf("the error is %v", err)
	}
	if _, _, err := a.Add("mx9", 1); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
