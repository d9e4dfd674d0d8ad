package pop3

import (
	"encoding/base64"
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

// told plays one XCLIENT of a trusted front end, and returns what it answers to it
// and what a trusted backend would hear.
func told(args string) (c *login.Client, answer, onward string) {
	c, tape := front("")
	s := &server{client: c, conn: c.Conn}
	_ = s.xclient(args)
	_ = c.Conn.Flush()
	onward = identity(login.Ticket{Client: c, Trusted: true})
	_ = c.Conn.Close()
	return c, tape.Heard.String(), onward
}

func TestWhatIsForwardedIsReadInAnyForm(t *testing.T) {
	for in, want := range map[string][]string{
		"a=b":                            {"a=b"},
		"a=b\tc=d":                       {"a=b", "c=d"},
		"a=\x01t\x01n\x01r\x01" + "1x":   {"a=\t\n\r\x01x"},
		"a=1\tA=2":                       {"A=2"},
		"":                               {},
		"no sign":                        {"no sign="},
		"a=" + strings.Repeat("x", 2000): {},
	} {
		c, _ := front("")
		if err := hearForward(c, base64.StdEncoding.EncodeToString([]byte(in))); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		var got []string
		for _, p := range c.Forward() {
			got = append(got, p.Name+"="+p.Value)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
		_ = c.Conn.Close()
	}
}

// A front end that tells of a client for whom there is no room hears so.
func TestAClientIsCountedByItsOwnAddress(t *testing.T) {
	for command, room := range map[string]error{"XCLIENT ADDR=192.0.2.7": nil, "XOIP 192.0.2.7": login.ErrFull} {
		var asked []netip.Addr
		c, tape := front(command + "\r\nNOOP\r\n")
		c.Counted = func(a netip.Addr) error { asked = append(asked, a); return room }
		_ = Protocol{}.Serve(t.Context(), c, &login.Desk{})
		_ = c.Conn.Close()
		heard := tape.Heard.String()
		if len(asked) != 1 || asked[0] != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("counted: %v", asked)
		}
		if room != nil != strings.HasSuffix(heard, Protocol{}.Info().Full+"\r\n") || room != nil == strings.Contains(heard, "Nothing to do") {
			t.Errorf("with %v the front end hears %q", room, heard)
		}
	}
}

// FuzzXCLIENT tells anything. What goes on to a backend is one clean command, which
// means the same there.
func FuzzXCLIENT(f *testing.F) {
	for _, s := range []string{
		"ADDR=192.0.2.7 PORT=4711 DESTADDR=::1 DESTPORT=995 SESSION=s TTL=4 CLIENT-TRANSPORT=TLS DESTNAME=mail", "TTL=x", "=", "ADDR=", " ADDR=1",
		"FORWARD=YT1iCWM9ZA==", "FORWARD=" + strings.Repeat("YQlh", 2000), "addr=::ffff:192.0.2.7", "ADDR=fe80::1%eth0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, args string) {
		c, answer, onward := told(args)
		if answer != "+OK Updated\r\n" && answer != "-ERR Invalid parameters\r\n" {
			t.Fatalf("the answer is %q", answer)
		}
		if strings.ContainsAny(onward, "\r\n\x00") || len(onward) > 6<<10 {
			t.Fatalf("a backend would hear %q", onward)
		}
		next, answer, _ := told(onward)
		if answer != "+OK Updated\r\n" || next.Remote != c.Remote || next.Local != c.Local || next.Ext == "" {
			t.Errorf("%q: from %v and %v the next proxy understands %v and %v", onward, c.Remote, c.Local, next.Remote, next.Local)
		}
	})
}
