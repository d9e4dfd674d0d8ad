package transcript

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

// A Tape is a peer that has said all it will say, and keeps what it hears.
type Tape struct {
	net.Conn // nil: nothing else is called
	says     *bytes.Reader
	Heard    bytes.Buffer
}

// Record makes a peer of what it says.
func Record(says string) *Tape { return &Tape{says: bytes.NewReader([]byte(says))} }

// Read implements net.Conn.
func (p *Tape) Read(b []byte) (int, error) { return p.says.Read(b) }

// Write implements net.Conn.
func (p *Tape) Write(b []byte) (int, error) { return p.Heard.Write(b) }

// SetReadDeadline implements net.Conn.
func (p *Tape) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (p *Tape) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn.
func (p *Tape) SetDeadline(time.Time) error { return nil }

// Close implements net.Conn.
func (p *Tape) Close() error { return nil }

// read is how many bytes were taken from it.
func (p *Tape) read() int { return int(p.says.Size()) - p.says.Len() }

// lines are what it heard, which must be whole lines.
func (p *Tape) lines(t testing.TB) []string {
	t.Helper()
	text := p.Heard.String()
	if text == "" {
		return nil
	}
	if !strings.HasSuffix(text, "\r\n") {
		t.Fatalf("heard half a line: %q", text)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n\x00") {
			t.Fatalf("heard an unclean line: %q", l)
		}
	}
	return lines
}

// Seeds gives a fuzz target all that a party says in the transcripts.
func Seeds(f *testing.F, section, says string, add func(string)) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no transcripts in testdata")
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			if strings.HasPrefix(part.Name, section) {
				add(words(f, string(part.Data), says))
			}
		}
	}
}

// words are what one party of a conversation says.
func words(f *testing.F, conversation, says string) (text string) {
	for line := range strings.SplitSeq(conversation, "\n") {
		if rest, ok := strings.CutPrefix(line, says+": "); ok {
			text += rest + "\r\n"
		}
		if rest, ok := strings.CutPrefix(line, says+"~ "); ok {
			raw, err := strconv.Unquote(rest)
			if err != nil {
				f.Fatal(err)
			}
			text += raw
		}
	}
	return text
}

// trusting knows everybody and leaves the question to the backend.
type trusting struct{}

func (trusting) Password(_ context.Context, _, authn, password string) (sasl.Identity, error) {
	return sasl.Identity{Account: &account.Account{Name: authn}, Password: password}, nil
}

func (trusting) Answer(_ context.Context, authn string, _ account.Answer) (sasl.Identity, error) {
	return trusted(authn)
}

func (trusting) Token(_ context.Context, name, _ string) (sasl.Identity, error) { return trusted(name) }

func (trusting) Certificate(_ context.Context, _ string, names []string) (sasl.Identity, error) {
	return trusted(names[0])
}

func (trusting) SCRAM(_ context.Context, _, _, authn string) (sasl.Prover, error) {
	return prover(authn), nil
}

// trusted is somebody whose password a backend need not be shown.
func trusted(name string) (sasl.Identity, error) {
	return sasl.Identity{Account: &account.Account{Name: name}, Password: "secret", Proven: true}, nil
}

// prover takes any proof for this name.
type prover string

func (prover) Salt() ([]byte, int) { return []byte("salt"), 1 }

func (p prover) Prove(context.Context, string, []byte) (sasl.Identity, []byte, error) {
	id, err := trusted(string(p))
	return id, []byte("own"), err
}

// refusing is a backend to which every password is wrong.
type refusing struct{ asked *int }

func (r refusing) Open(context.Context, route.Target, func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	*r.asked++
	return nil, login.Refused("the server", "AUTHENTICATIONFAILED", "no")
}

// closedDesk lets nobody in. asked counts the logins that it was asked for.
func closedDesk() (d *login.Desk, asked *int) {
	asked = new(int)
	mechanisms := all
	return &login.Desk{
		Mechanisms: mechanisms, Towards: mechanisms,
		Verifier: func(*login.Client) sasl.Verifier { return trusting{} },
		Limits:   &limit.Limits{},
		Routes:   &route.Table{Backends: map[string]route.Backend{route.Default: {Addrs: map[string][]string{"": {"mail:1"}}}}},
		Backends: refusing{asked}, Sessions: &session.Registry{}, Relay: relay.NewGoroutines(), Log: slog.New(slog.DiscardHandler),
	}, asked
}

// clientBounds are those of package listen.
var clientBounds = wire.Bounds{Bytes: 64 << 10, Lines: 200}

// all are the mechanisms of clients, and towards servers.
var all = []sasl.Mechanism{
	sasl.Plain, sasl.Login, sasl.CRAMMD5, sasl.CRAMSHA1, sasl.CRAMSHA256, sasl.SCRAMSHA1, sasl.SCRAMSHA256, sasl.SCRAMSHA1Plus, sasl.SCRAMSHA256Plus,
	sasl.External, sasl.OAuthBearer, sasl.XOAuth2, sasl.APOP,
}

// Serve plays what a client says against a desk that lets nobody in. It returns
// what the client heard and how many logins the desk was asked for.
func Serve(t testing.TB, proto login.Protocol, says string) (heard []string, asked int) {
	t.Helper()
	d, n := closedDesk()
	p := Record(says)
	c := &login.Client{
		Conn: wire.New(p, clientBounds), Protocol: proto,
		Terms: login.Terms{Hostname: "usher", Cleartext: login.CleartextAlways, Nonce: func() string { return "nonce" }},
	}
	_ = proto.Serve(context.Background(), c, d)
	_ = c.Conn.Close()
	if most := clientBounds.Bytes + 2*wire.MaxLine; p.read() > most {
		t.Errorf("%d bytes were read, at most %d may be", p.read(), most)
	}
	if d.Sessions.Len() > 0 {
		t.Error("somebody was let in")
	}
	return p.lines(t), *n
}

// Enter plays what a server says against a protocol's Enter. It returns also what
// the server heard.
func Enter(t testing.TB, proto login.Protocol, says string, ticket login.Ticket) (w login.Welcome, heard []string, err error) {
	t.Helper()
	const most = 256 << 10 // package backend's
	p := Record(says)
	c := wire.New(p, wire.Bounds{Bytes: most})
	client := wire.New(Record(""), wire.Bounds{})
	defer func() { _ = client.Close() }()
	ticket.Client = &login.Client{Protocol: proto, Conn: client}
	w, err = proto.Enter(context.Background(), c, ticket)
	_ = c.Flush()
	_ = c.Close()
	if p.read() > most+2*wire.MaxLine {
		t.Errorf("%d bytes were read of a server that never stops", p.read())
	}
	return w, p.lines(t), err
}

// Ticket is one of the ways to log in, by a number.
func Ticket(user, password string, how byte) login.Ticket {
	t := login.Ticket{User: user, Password: password}
	if how&1 != 0 {
		t.Master = "master"
	}
	t.Trusted = how&8 != 0
	switch how >> 1 & 3 {
	case 1:
		t.Mechanism = &sasl.Plain
	case 2:
		t.Mechanism = &sasl.Login
	case 3:
		t.Mechanism = &all[int(how>>4)%len(all)]
		if t.Mechanism.Enter == nil {
			t.Mechanism = nil
		}
	}
	return t
}
