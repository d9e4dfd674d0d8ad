package login_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tape is a peer that has said all it will say, and keeps what it hears.
type tape struct {
	net.Conn // nil: nothing else is called
	says     io.Reader
	heard    bytes.Buffer
	deaf     bool
	closed   bool
}

var errDeaf = errors.New("the peer is gone")

func record(says string) *tape { return &tape{says: strings.NewReader(says)} }

func (p *tape) Read(b []byte) (int, error) { return p.says.Read(b) }
func (p *tape) LocalAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 43211} }

func (p *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 143} }
func (p *tape) SetReadDeadline(time.Time) error  { return nil }
func (p *tape) SetWriteDeadline(time.Time) error { return nil }
func (p *tape) SetDeadline(time.Time) error      { return nil }
func (p *tape) Close() error                     { p.closed = true; return nil }

func (p *tape) Write(b []byte) (int, error) {
	if p.deaf {
		return 0, errDeaf
	}
	return p.heard.Write(b)
}

// A verify is a Verifier, an open Backends, an engine a relay.Engine.
type (
	verify func(authn, password string) (sasl.Identity, error)
	open   func(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error)
	engine struct {
		started []relay.Pair
		apart   bool
	}
	proto struct {
		enter func(login.Ticket) (login.Welcome, error)
	}
)

func (v verify) Password(_ context.Context, _, authn, password string) (sasl.Identity, error) {
	return v(authn, password)
}

func (v verify) Answer(_ context.Context, authn string, a account.Answer) (sasl.Identity, error) {
	return v(authn, a.Response)
}

func (v verify) SCRAM(context.Context, string, string, string) (sasl.Prover, error) { return v, nil }

func (v verify) Salt() ([]byte, int) { return []byte("salt"), 1 }

func (v verify) Prove(context.Context, string, []byte) (sasl.Identity, []byte, error) {
	id, err := v("", "")
	return id, nil, err
}

func (v verify) Token(_ context.Context, name, token string) (sasl.Identity, error) {
	return v(name, token)
}

func (v verify) Certificate(_ context.Context, _ string, names []string) (sasl.Identity, error) {
	return v(names[0], "")
}

func (o open) Open(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	return o(ctx, t, enter)
}

func (e *engine) Start(p relay.Pair, done func(relay.Stats)) {
	e.started = append(e.started, p)
	done(relay.Stats{ID: p.ID, FromClient: 3, FromServer: 4, Ended: relay.ClientLeft})
}
func (e *engine) Apart() bool                    { return e != nil && e.apart }
func (e *engine) Kick(uint64, relay.Ending) bool { return false }
func (e *engine) Release(uint64) (relay.Pair, func(relay.Stats), bool) {
	return relay.Pair{}, nil, false
}

func (proto) Info() login.Info {
	return login.Info{Name: "test", Port: 1, TLSPort: 2, Farewell: "bye\r\n"}
}
func (proto) Serve(context.Context, *login.Client, *login.Desk) error { return nil }

func (p proto) Enter(_ context.Context, _ *wire.Conn, t login.Ticket) (login.Welcome, error) {
	return p.enter(t)
}

// A stage is a desk where everything goes well until a test changes it.
type stage struct {
	desk    *login.Desk
	client  *login.Client
	log     bytes.Buffer
	peer    *tape // the client's end
	backend *tape // the server's end
	engine  *engine
	tickets []login.Ticket
	refusal error // of the server
}

func newStage() *stage {
	s := &stage{peer: record(""), backend: record(""), engine: &engine{}}
	mechanisms := []sasl.Mechanism{sasl.Plain, sasl.Login}
	s.desk = &login.Desk{
		Mechanisms: mechanisms, Towards: mechanisms,
		Verifier: func(*login.Client) sasl.Verifier { return proven(&account.Account{Name: "ann"}) },
		Limits:   limit.New(limit.Bounds{SessionsPerUser: 1}),
		Routes: &route.Table{
			Ports:    map[string]route.Ports{"test": {Clear: 1, TLS: 2}},
			Backends: map[string]route.Backend{route.Default: {Addrs: map[string][]string{"": {"mail"}}}},
		},
		Backends: open(s.open), Sessions: &session.Registry{}, Relay: s.engine,
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	s.client = &login.Client{
		ID: 1, Conn: wire.New(s.peer, wire.Bounds{}), Protocol: proto{s.enter},
		Remote: netip.MustParseAddrPort("192.0.2.7:40000"), Terms: login.Terms{Cleartext: login.CleartextAlways},
	}
	return s
}

// conn is the client's connection.
func (s *stage) conn() *wire.Conn { return wire.New(s.peer, wire.Bounds{}) }

// open is a backend that is there.
func (s *stage) open(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	c := wire.New(s.backend, wire.Bounds{})
	if err := enter(ctx, c, t.(route.Dial).Stops[0]); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (s *stage) enter(t login.Ticket) (login.Welcome, error) {
	s.tickets = append(s.tickets, t)
	return login.Welcome{Text: "welcome"}, s.refusal
}

// verifier changes who the client is.
func (s *stage) verifier(v verify) { s.desk.Verifier = func(*login.Client) sasl.Verifier { return v } }

func proven(a *account.Account) verify {
	return func(_, password string) (sasl.Identity, error) {
		return sasl.Identity{Account: a, Password: password, Proven: true}, nil
	}
}

func unproven(a *account.Account) verify {
	return func(_, password string) (sasl.Identity, error) {
		return sasl.Identity{Account: a, Password: password}, nil
	}
}

func failing(err error) verify {
	return func(string, string) (sasl.Identity, error) { return sasl.Identity{}, err }
}

func (s *stage) admit(t testing.TB) (*login.Admission, error) {
	return s.desk.Admit(t.Context(), s.client, "PLAIN", sasl.Given("ann", "secret"))
}

// roomLeft tells whether a failed login has given its place back.
func (s *stage) roomLeft(t testing.TB) {
	t.Helper()
	seat, err := s.desk.Limits.Session("ann", s.client.Remote.Addr())
	if err != nil {
		t.Errorf("a refused login keeps its place: %v", err)
		return
	}
	seat.Release()
}
