package listen_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/auth"
	"usher/internal/backend"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A door is a net.Listener in memory.
type door struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	once   sync.Once
}

func newDoor() *door {
	return &door{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case err := <-d.errs:
		return nil, err
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 143} }

// A guest is the server's end of a connection from an address.
type guest struct {
	net.Conn
	from netip.AddrPort
}

func (g guest) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(g.from) }

// A house is a listener with all that stands behind it, in synthetic time: the
// account ann with the password "secret", at a backend that lets everybody in.
type house struct {
	t        *testing.T
	door     *door
	listener *listen.Listener
	service  *listen.Service
	desk     *login.Desk
	log      safe
	stop     context.CancelFunc // accepts no more
	abort    context.CancelFunc // ends logins on their way
	served   chan error
}

// safe is a log that is written and read by many.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// open opens a house in a bubble of synthetic time, plays, and closes it.
func open(t *testing.T, p login.Protocol, change func(*house), play func(*testing.T, *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, p)
		if change != nil {
			change(h)
		}
		ctx, cancel := context.WithCancel(t.Context())
		h.stop = cancel
		aborted, abort := context.WithCancel(t.Context())
		defer abort()
		h.abort = abort
		go func() { h.served <- h.listener.Serve(ctx, aborted) }()
		play(t, h)
		h.stop()
		if err := <-h.served; err != nil {
			t.Errorf("the listener ended with %v", err)
		}
		time.Sleep(time.Hour) // of synthetic time: peers that are still talking notice
	})
}

func newHouse(t *testing.T, p login.Protocol) *house {
	h := &house{t: t, door: newDoor(), served: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	au := auth.New(ann{}, "{PLAIN}decoy", 2)
	backends := backend.New()
	backends.Dial = func(context.Context, string, string) (net.Conn, error) { return mailServer(p.Info().Name), nil }
	mechanisms := []sasl.Mechanism{sasl.Plain, sasl.Login}
	h.desk = &login.Desk{
		Mechanisms: mechanisms, Towards: mechanisms,
		Verifier: func(*login.Client) sasl.Verifier { return au.Verifier(account.Query{}, "") },
		Limits:   &limit.Limits{},
		Routes:   &route.Table{Backends: map[string]route.Backend{route.Default: {Addrs: map[string][]string{"": {"10.0.0.1:1"}}}}},
		Backends: backends, Sessions: &session.Registry{}, Relay: relay.NewGoroutines(), Log: log,
	}
	h.listener = &listen.Listener{Net: h.door, Log: log}
	h.service = &listen.Service{
		Protocol: p, Desk: h.desk, Limits: h.desk.Limits, Refusals: &listen.Refusals{}, Log: log,
		Bounds: listen.Bounds{Login: time.Minute, Command: 30 * time.Second},
		Terms:  login.Terms{Hostname: "usher", Cleartext: login.CleartextAlways},
	}
	h.listener.Use(h.service)
	return h
}

type ann struct{}

func (ann) Lookup(_ context.Context, q account.Query) (*account.Account, error) {
	if q.Name != "ann" {
		return nil, account.ErrUnknown
	}
	return &account.Account{Name: "ann", Proof: account.Hashed{Hashes: []string{"{PLAIN}secret"}}}, nil
}

// mailServer is a server that lets everybody in and repeats what it hears.
func mailServer(protocol string) net.Conn {
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		in := bufio.NewReader(far)
		if protocol == "imap" {
			_, _ = io.WriteString(far, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
			_, _ = in.ReadString('\n')
			_, _ = io.WriteString(far, "L OK [CAPABILITY IMAP4rev1] in\r\n")
		} else {
			_, _ = io.WriteString(far, "+OK ready\r\n")
			for range 2 { // USER and PASS
				_, _ = in.ReadString('\n')
				_, _ = io.WriteString(far, "+OK\r\n")
			}
		}
		_, _ = io.Copy(far, in)
	}()
	return near
}

// enter lets a client in at the door.
func (h *house) enter(from string) *visitor {
	near, far := net.Pipe()
	h.door.conns <- guest{near, netip.MustParseAddrPort(from)}
	return &visitor{h.t, far, bufio.NewReader(far)}
}

// A visitor is a client.
type visitor struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func (v *visitor) say(s string) error {
	_, err := io.WriteString(v.nc, s)
	return err
}

func (v *visitor) hear(want string) {
	v.t.Helper()
	got, err := v.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, want) {
		v.t.Errorf("heard %q %v, want %q", got, err, want)
	}
}

// rest is what is heard until the end.
func (v *visitor) rest() string {
	b, err := io.ReadAll(v.in)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		v.t.Errorf("the end is %v", err)
	}
	return string(b)
}

// visit logs in, talks to the backend and leaves: others must not feel an attack.
func (h *house) visit() {
	h.t.Helper()
	v := h.enter("192.0.2.99:1")
	defer func() { _ = v.nc.Close() }()
	began := time.Now()
	if h.service.Protocol.Info().Name == "imap" {
		v.hear("* OK ")
		_ = v.say("a LOGIN ann secret\r\n")
		v.hear("a OK ")
	} else {
		v.hear("+OK ")
		_ = v.say("USER ann\r\n")
		v.hear("+OK ")
		_ = v.say("PASS secret\r\n")
		v.hear("+OK")
	}
	go func() { _ = v.say("hello\r\n") }()
	v.hear("hello")
	if took := time.Since(began); took != 0 {
		h.t.Errorf("another's login took %v", took)
	}
}
