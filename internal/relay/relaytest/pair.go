package relaytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/relay"
)

// patience is how long anything may take that must happen.
const patience = 30 * time.Second

// A scene is one pair and the two who talk through it.
type scene struct {
	t      testing.TB
	engine relay.Engine
	pair   relay.Pair
	client peer // the mail program
	server peer // the backend
	ended  chan relay.Stats
	dones  atomic.Int32
}

// A peer is the far end of a leg.
type peer struct {
	net.Conn              // under TLS, if it is
	raw      *net.TCPConn // the socket
	secrets  *bytes.Buffer
	spoken   uint64 // records that it has sent under its secret
}

// newScene connects a pair, and starts it after change has had it.
func newScene(t testing.TB, e relay.Engine, w way, change func(*relay.Pair)) *scene {
	t.Helper()
	s := &scene{t: t, engine: e, ended: make(chan relay.Stats, 1)}
	s.pair.ID = nextID.Add(1)
	s.pair.Client, s.client = leg(t, w.client, true)
	s.pair.Server, s.server = leg(t, w.server, false)
	if change != nil {
		change(&s.pair)
	}
	e.Start(s.pair, s.done)
	return s
}

var nextID atomic.Uint64

func (s *scene) done(st relay.Stats) {
	if s.dones.Add(1) > 1 {
		s.t.Error("done was called twice")
		return
	}
	if st.ID != s.pair.ID {
		s.t.Errorf("pair %d is told to have ended as %d", s.pair.ID, st.ID)
	}
	s.ended <- st
}

// end waits for the end of the pair and holds its reason, which must be one of
// want.
func (s *scene) end(want ...relay.Ending) relay.Stats {
	s.t.Helper()
	select {
	case st := <-s.ended:
		if !slices.Contains(want, st.Ended) {
			s.t.Errorf("ended %q, want %q", st.Ended, want)
		}
		return st
	case <-time.After(patience):
		s.t.Fatalf("the pair does not end; want %q", want)
	}
	panic("not reached")
}

// counted holds the byte counts.
func (s *scene) counted(st relay.Stats, fromClient, fromServer int) {
	s.t.Helper()
	if st.FromClient != uint64(fromClient) || st.FromServer != uint64(fromServer) {
		s.t.Errorf("counted %d from the client and %d from the server, want %d and %d", st.FromClient, st.FromServer, fromClient, fromServer)
	}
}

func (p peer) say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		t.Fatalf("say %.40q: %v", text, err)
	}
}

func (p peer) hear(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != want {
		t.Fatalf("heard %.40q %v, want %.40q", got[:n], err, want)
	}
}

// hearEnd reads to the end and holds what came before it.
func (p peer) hearEnd(t testing.TB, want string) {
	t.Helper()
	got, err := io.ReadAll(p)
	if string(got) != want {
		t.Errorf("heard %.60q before the end (%v), want %.60q", got, err, want)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection stays open")
	}
}

// closeWrite ends what the peer says: TLS's goodbye, or FIN.
func (p peer) closeWrite(t testing.TB) {
	t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("close the write side: %v", err)
	}
}

// reset drops the connection as a crashed machine or a broken NAT does.
func (p peer) reset() {
	_ = p.raw.SetLinger(0)
	_ = p.raw.Close()
}

// leg connects two sockets. near goes to the engine, which is the server
// towards its clients and a client towards servers.
func leg(t testing.TB, version uint16, nearIsServer bool) (near relay.Leg, far peer) {
	t.Helper()
	a, b := Sockets(t)
	near, far = relay.Leg{Conn: a}, peer{Conn: b, raw: b, secrets: new(bytes.Buffer)}
	if version == 0 {
		return near, far
	}
	server, client := TLS(version)
	client.KeyLogWriter = far.secrets
	if nearIsServer {
		near.TLS = relay.Server(a, server)
		far.Conn = tls.Client(b, client)
	} else {
		near.TLS = relay.Client(a, client)
		far.Conn = tls.Server(b, server)
	}
	shakeHands(t, near.TLS, far.Conn.(*tls.Conn))
	greet(t, near.TLS, far)
	far.spoken = 1
	return near, far
}

// greet has both sides say something before the relay begins, as both do before a login:
// only then an engine can know where crypto/tls stands.
func greet(t testing.TB, near *tls.Conn, far peer) {
	t.Helper()
	for _, way := range [][2]net.Conn{{near, far.Conn}, {far.Conn, near}} {
		said := make(chan error, 1)
		go func() { _, err := way[0].Write([]byte("hello")); said <- err }()
		if _, err := io.ReadFull(way[1], make([]byte, 5)); errors.Join(err, <-said) != nil {
			t.Fatal("the peers cannot greet each other")
		}
	}
}

func shakeHands(t testing.TB, near, far *tls.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- near.Handshake() }()
	if err := errors.Join(far.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
}

// Sockets returns two ends of a TCP connection over loopback. They are closed,
// if they are not yet, when the test ends.
func Sockets(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	near, far, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	_ = far.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// connect makes one connection at a time, so that what is accepted is what was dialled.
func connect() (near, far *net.TCPConn, err error) {
	connecting.Lock()
	defer connecting.Unlock()
	dialled, err := net.Dial("tcp", listener().Addr().String())
	if err != nil {
		return nil, nil, err
	}
	accepted, err := listener().Accept()
	if err != nil {
		return nil, nil, err
	}
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn), nil
}

var (
	connecting sync.Mutex
	listener   = sync.OnceValue(func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		return ln
	})
)

// TLS returns configurations of one version that trust each other, for the names
// localhost, 127.0.0.1 and mail.example.org.
func TLS(version uint16) (server, client *tls.Config) {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	server = &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: version, MaxVersion: version}
	client = &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version}
	return server, client
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", "mail.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})
