package ident_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"usher/internal/ident"
	"usher/internal/login"
	"usher/internal/session"
	"usher/internal/transcript"
	"usher/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask is what a server at an address hears.
func ask(t testing.TB, from, says string, sessions ...*session.Session) string {
	t.Helper()
	d := &login.Desk{Sessions: &session.Registry{}}
	for _, s := range sessions {
		d.Sessions.Add(s)
	}
	tape := transcript.Record(says)
	c := &login.Client{
		Conn: wire.New(tape, wire.Bounds{Bytes: 64 << 10, Lines: 200}), Protocol: ident.Protocol{},
		Remote: netip.MustParseAddrPort(from), Local: netip.MustParseAddrPort("10.0.0.1:113"),
	}
	_ = ident.Protocol{}.Serve(t.Context(), c, d)
	_ = c.Conn.Close()
	return tape.Heard.String()
}

func ann() *session.Session {
	return &session.Session{
		ID: 1, Account: "ann@example.org", Remote: netip.MustParseAddrPort("192.0.2.7:4711"),
		Near: netip.MustParseAddrPort("10.0.0.1:43211"), Far: netip.MustParseAddrPort("10.0.0.2:143"),
	}
}

// A server hears who its client is, and nothing of others'.
func TestAServerHearsWhoItsClientIs(t *testing.T) {
	for _, c := range []struct{ from, says, want string }{
		{"10.0.0.2:50000", "43211, 143", "43211 , 143 : USERID : OTHER : ann@example.org/192.0.2.7:4711"},
		{"10.0.0.2:50000", " 43211,143 ", "43211 , 143 : USERID : OTHER : ann@example.org/192.0.2.7:4711"},
		{"10.0.0.3:50000", "43211, 143", "43211 , 143 : ERROR : NO-USER"},
		{"10.0.0.2:50000", "43211, 110", "43211 , 110 : ERROR : NO-USER"},
		{"10.0.0.2:50000", "43212, 143", "43212 , 143 : ERROR : NO-USER"},
		{"10.0.0.2:50000", "43211", "0 , 0 : ERROR : INVALID-PORT"},
		{"10.0.0.2:50000", "43211, 0", "0 , 0 : ERROR : INVALID-PORT"},
		{"10.0.0.2:50000", "65536, 143", "0 , 0 : ERROR : INVALID-PORT"},
		{"10.0.0.2:50000", "who, me", "0 , 0 : ERROR : INVALID-PORT"},
		{"10.0.0.2:50000", "", "0 , 0 : ERROR : INVALID-PORT"},
	} {
		if got := ask(t, c.from, c.says+"\r\n", ann()); got != c.want+"\r\n" {
			t.Errorf("%s asks %q and hears %q, want %q", c.from, c.says, got, c.want)
		}
	}
	if got := ask(t, "10.0.0.2:50000", strings.Repeat("43211,143\r\n", 3), ann()); strings.Count(got, "ann") != 3 {
		t.Errorf("three questions are answered %q", got)
	}
}

func TestOddNamesStayWithinTheirLine(t *testing.T) {
	odd := ann()
	odd.Account = "a\r\n1 , 2 : USERID\x00\x7f" + strings.Repeat("x", 1000)
	got := ask(t, "10.0.0.2:50000", "43211, 143\r\n", odd)
	name := strings.TrimSuffix(strings.TrimPrefix(got, "43211 , 143 : USERID : OTHER : "), "\r\n")
	if len(name) > 512 || !strings.HasSuffix(name, "xx/192.0.2.7:4711") || !strings.HasPrefix(name, "a??1 , 2 : USERID??x") {
		t.Errorf("the answer is %q", got)
	}
}

func TestNobodyLogsInByIdent(t *testing.T) {
	if _, err := (ident.Protocol{}).Enter(t.Context(), nil, login.Ticket{}); err == nil {
		t.Error("somebody does")
	}
}

var answers = regexp.MustCompile(`^(\d+ , \d+ : (USERID : OTHER : ann@example.org/192.0.2.7:4711|ERROR : (NO-USER|INVALID-PORT))\r\n)*$`)

func FuzzServe(f *testing.F) {
	for _, s := range []string{"43211, 143\r\n", "1,1\r\n2,2\n", ",\r\n", "99999999999999999999,1\r\n", "-1,+1\r\n", strings.Repeat("x", 9000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, says string) {
		if got := ask(t, "10.0.0.2:50000", says, ann()); !answers.MatchString(got) {
			t.Errorf("%q is answered %q", says, got)
		}
	})
}
