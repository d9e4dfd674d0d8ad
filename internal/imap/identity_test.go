package imap

import (
	"net/netip"
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/session"
	"usher/internal/transcript"
	"usher/internal/wire"
)

// front is a client of which a trusted front end tells.
func front(says string) (*login.Client, *transcript.Tape) {
	tape := transcript.Record(says)
	return &login.Client{
		ID: session.ID(1), Protocol: Protocol{}, Conn: wire.New(tape, wire.Bounds{Bytes: 64 << 10, Lines: 200}),
		Remote: netip.MustParseAddrPort("10.0.0.1:1"), Local: netip.MustParseAddrPort("10.0.0.2:143"),
		Origin: login.Origin{Trusted: true},
	}, tape
}

// told plays one ID command of a trusted front end, and returns what a trusted
// backend would hear.
func told(t testing.TB, argument string) (c *login.Client, onward string, err error) {
	t.Helper()
	c, _ = front("")
	defer func() { _ = c.Conn.Close() }()
	in := newScanner(c.Conn, argument)
	pairs, err := in.pairs()
	if err != nil {
		return c, "", err
	}
	s := &server{client: c, conn: c.Conn}
	if err := s.hear(pairs); err != nil {
		t.Fatal(err)
	}
	return c, identity(login.Ticket{Client: c, Trusted: true}), nil
}

func TestTheClientsOwnWordsAreKeptWithinBounds(t *testing.T) {
	var pairs []string
	for i := range 60 {
		pairs = append(pairs, `"name`+strings.Repeat("i", i%30)+string(rune('a'+i/30))+`" "`+strings.Repeat("v", 30)+`"`)
	}
	_, onward, err := told(t, "("+strings.Join(pairs, " ")+")")
	if n := strings.Count(onward, `" "`); err != nil || n > 2*login.MaxPairs || len(onward) > 2*maxOwn {
		t.Errorf("%d bytes go on: %s, %v", len(onward), onward, err)
	}
	if !strings.HasPrefix(onward, `"namea" "vvv`) || !strings.HasSuffix(onward, `"x-client-transport" "insecure"`) {
		t.Errorf("what goes on is %s", onward)
	}
}

func TestOnlyWhatQuotesCanHoldGoesOn(t *testing.T) {
	_, onward, err := told(t, `("name" "a \"b\" \\c" "vendor" "Änn" "os" "")`)
	want := `"name" "a \"b\" \\c" "os" "" `
	if err != nil || !strings.HasPrefix(onward, want+`"x-session-id"`) {
		t.Errorf("what goes on is %s, want %s: %v", onward, want, err)
	}
}

// A front end that tells of a client for whom there is no room hears so.
func TestAClientIsCountedByItsOwnAddress(t *testing.T) {
	const id = "a ID (\"x-originating-ip\" \"192.0.2.7\")\r\n"
	for _, room := range []error{nil, login.ErrFull} {
		var asked []netip.Addr
		c, tape := front(id + "b NOOP\r\n")
		c.Counted = func(a netip.Addr) error { asked = append(asked, a); return room }
		_ = Protocol{}.Serve(t.Context(), c, &login.Desk{})
		_ = c.Conn.Close()
		heard := tape.Heard.String()
		if len(asked) != 1 || asked[0] != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("counted: %v", asked)
		}
		if room != nil != strings.HasSuffix(heard, Protocol{}.Info().Full+"\r\n") || room != nil == strings.Contains(heard, "b OK") {
			t.Errorf("with %v the front end hears %q", room, heard)
		}
	}
}

// FuzzID tells anything. What goes on to a backend is one clean list, which means
// the same there.
func FuzzID(f *testing.F) {
	for _, s := range []string{
		`("name" "mutt")`, `("x-originating-ip" "192.0.2.7" "x-originating-port" "1" "x-session-id" "s" "x-proxy-ttl" "3")`, `()`,
		`("x-forward-a" "b" "X-FORWARD-A" "c" "x-connected-name" "d")`, `("x-client-transport" "insecure" "x-multiplex" "0" "a" NIL)`,
		`("x-connected-ip" "::1" "x-connected-port" "993" "x-session-ext-id" "e" "a" "\"" "b" "\\")`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, argument string) {
		c, onward, err := told(t, argument)
		if err != nil || strings.ContainsAny(argument, "{\r\n\x00") {
			return
		}
		if strings.ContainsAny(onward, "\r\n\x00") || len(onward) > 6<<10 {
			t.Fatalf("a backend would hear %q", onward)
		}
		next, _, err := told(t, "("+onward+")")
		if err != nil || next.Remote != c.Remote || next.Local != c.Local || next.Ext == "" {
			t.Errorf("%q: from %v and %v the next proxy understands %v and %v: %v", onward, c.Remote, c.Local, next.Remote, next.Local, err)
		}
	})
}
