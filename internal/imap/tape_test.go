package imap

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

// A tape is a peer that has said all it will say, and keeps what it hears.
type tape struct {
	net.Conn // nil: nothing else is called
	says     *bytes.Reader
	heard    bytes.Buffer
}

func record(says string) *tape { return &tape{says: bytes.NewReader([]byte(says))} }

func (p *tape) Read(b []byte) (int, error)       { return p.says.Read(b) }
func (p *tape) Write(b []byte) (int, error)      { return p.heard.Write(b) }
func (p *tape) SetReadDeadline(time.Time) error  { return nil }
func (p *tape) SetWriteDeadline(time.Time) error { return nil }
func (p *tape) SetDeadline(time.Time) error      { return nil }
func (p *tape) Close() error                     { return nil }

// read is how many bytes were taken from it.
func (p *tape) read() int { return int(p.says.Size()) - p.says.Len() }

// lines are what it heard, which must be whole lines.
func (p *tape) lines(t testing.TB) []string {
	t.Helper()
	text := p.heard.String()
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

// seeds gives f all that a party says in the transcripts.
func seeds(f *testing.F, section, says string, add func(string)) {
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

// refusing is a backend to which every password is wrong.
type refusing struct{ asked *int }

func (r refusing) Open(context.Context, route.Target, func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
	*r.asked++
	return nil, login.Refused("the server", "AUTHENTICATIONFAILED", "no")
}

// closedDesk lets nobody in. asked counts the logins that it was asked for.
func closedDesk() (d *login.Desk, asked *int) {
	asked = new(int)
	mechanisms := []sasl.Mechanism{sasl.Plain, sasl.Login}
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

// serve plays what a client says against a closed desk.
func serve(t testing.TB, says string) (heard []string, asked int) {
	t.Helper()
	d, n := closedDesk()
	p := record(says)
	c := &login.Client{
		Conn: wire.New(p, clientBounds), Protocol: Protocol{},
		Terms: login.Terms{Hostname: "usher", Cleartext: login.CleartextAlways},
	}
	_ = Protocol{}.Serve(context.Background(), c, d)
	_ = c.Conn.Close()
	if most := clientBounds.Bytes + 2*wire.MaxLine; p.read() > most {
		t.Errorf("%d bytes were read, at most %d may be", p.read(), most)
	}
	if d.Sessions.Len() > 0 {
		t.Error("somebody was let in")
	}
	return p.lines(t), *n
}

// enter plays what a server says against Enter.
func enter(t testing.TB, says string, ticket login.Ticket) (w login.Welcome, heard []string, err error) {
	t.Helper()
	const most = 256 << 10 // package backend's
	p := record(says)
	c := wire.New(p, wire.Bounds{Bytes: most})
	ticket.Client = &login.Client{Protocol: Protocol{}}
	w, err = Protocol{}.Enter(context.Background(), c, ticket)
	_ = c.Flush()
	_ = c.Close()
	if p.read() > most+2*wire.MaxLine {
		t.Errorf("%d bytes were read of a server that never stops", p.read())
	}
	return w, p.lines(t), err
}
