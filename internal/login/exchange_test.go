package login_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/sasl"
	"usher/internal/wire"
)

func TestAClientsFirstMessage(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		name    string
		initial *string
		says    string
		want    string
		heard   string
		reason  login.Reason // if it fails
		fails   bool
	}{
		{name: "with the command", initial: text("YW5u"), want: "ann"},
		{name: "empty, with the command", initial: text("="), want: ""},
		{name: "asked for", says: "YW5u\r\n", want: "ann", heard: "+ TmFtZT8=\r\n"},
		{name: "empty, asked for", says: "\r\n", want: "", heard: "+ TmFtZT8=\r\n"},
		{name: "binary", initial: text("AP8="), want: "\x00\xff"},
		{name: "no base64", initial: text("!"), reason: login.Malformed, fails: true},
		{name: "no padding", initial: text("YW4"), reason: login.Malformed, fails: true},
		{name: "bits behind the end", initial: text("YW5="), reason: login.Malformed, fails: true},
		{name: "two in one", initial: text("YW4=YW4="), reason: login.Malformed, fails: true},
		{name: "cancelled", says: "*\r\n", heard: "+ TmFtZT8=\r\n", reason: login.Aborted, fails: true},
		{name: "an unclean line", says: "YW\x005u\r\n", heard: "+ TmFtZT8=\r\n", reason: login.Malformed, fails: true},
		{name: "gone", heard: "+ TmFtZT8=\r\n", reason: login.Aborted, fails: true},
		{name: "too long", says: strings.Repeat("x", 2*wire.MaxLine), heard: "+ TmFtZT8=\r\n", reason: login.Aborted, fails: true},
	} {
		p := record(c.says)
		got, err := login.NewExchange(wire.New(p, wire.Bounds{}), c.initial).Initial("Name?")
		if string(got) != c.want || (err != nil) != c.fails || c.fails && login.ReasonOf(err) != c.reason {
			t.Errorf("%s: %q, %v (%v)", c.name, got, err, login.ReasonOf(err))
		}
		if p.heard.String() != c.heard {
			t.Errorf("%s: the client heard %q, want %q", c.name, &p.heard, c.heard)
		}
	}
}

func TestWhatIsNotBase64IsNotQuoted(t *testing.T) {
	initial := "my secret!"
	_, err := login.NewExchange(wire.New(record(""), wire.Bounds{}), &initial).Initial("")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error, which is logged, says %q", err)
	}
}

// An answer is what an Entry's server says: challenges, then the verdict.
func entryOf(p *tape, ir int, answers ...string) *login.Entry {
	return &login.Entry{
		Conn: wire.New(p, wire.Bounds{}), Command: "L AUTHENTICATE X", IR: ir,
		Answer: func() (string, error) {
			if len(answers) == 0 {
				return "", sasl.ErrVerdict
			}
			a := answers[0]
			answers = answers[1:]
			return a, nil
		},
	}
}

func TestAServersHalfOfTheFraming(t *testing.T) {
	ann := sasl.Credentials{Authn: "ann", Password: "secret"}
	for _, c := range []struct {
		name    string
		m       sasl.Mechanism
		who     sasl.Credentials
		ir      int
		answers []string
		want    string
	}{
		{"PLAIN at once", sasl.Plain, ann, 4096, nil, "L AUTHENTICATE X AGFubgBzZWNyZXQ=\r\n"},
		{"PLAIN when asked", sasl.Plain, ann, 0, []string{""}, "L AUTHENTICATE X\r\nAGFubgBzZWNyZXQ=\r\n"},
		{"LOGIN never at once", sasl.Login, ann, 4096, []string{"VXNlcm5hbWU6", "UGFzc3dvcmQ6"}, "L AUTHENTICATE X\r\nYW5u\r\nc2VjcmV0\r\n"},
		{"LOGIN with empty questions", sasl.Login, ann, 0, []string{"", ""}, "L AUTHENTICATE X\r\nYW5u\r\nc2VjcmV0\r\n"},
		{"refused at once", sasl.Login, ann, 0, nil, "L AUTHENTICATE X\r\n"},
	} {
		p := record("")
		x := entryOf(p, c.ir, c.answers...)
		if err := x.Enter(&c.m, c.who, func() bool { return false }); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		_ = x.Conn.Flush()
		if p.heard.String() != c.want {
			t.Errorf("%s: the server heard %q, want %q", c.name, &p.heard, c.want)
		}
	}
}

func TestAnEmptyFirstMessageIsAnEqualsSign(t *testing.T) {
	p := record("")
	x := entryOf(p, 4096)
	if _, err := x.Send(nil); !errors.Is(err, sasl.ErrVerdict) {
		t.Error(err)
	}
	_ = x.Conn.Flush()
	if got := p.heard.String(); got != "L AUTHENTICATE X =\r\n" {
		t.Errorf("the server heard %q", got)
	}
}

func TestALongFirstMessageWaitsToBeAsked(t *testing.T) {
	p := record("")
	x := entryOf(p, 4096, "")
	_, _ = x.Send(make([]byte, wire.MaxLine/2))
	_ = x.Conn.Flush()
	if got, _, _ := strings.Cut(p.heard.String(), "\r\n"); got != "L AUTHENTICATE X" {
		t.Errorf("the command is %.60q", got)
	}
}

func TestAChallengeThatIsNoBase64EndsTheLogin(t *testing.T) {
	if err := sasl.Login.Enter(entryOf(record(""), 0, "!!"), sasl.Credentials{}, sasl.Channel{}); err == nil {
		t.Error("the login succeeded")
	}
	gone := entryOf(record(""), 0)
	gone.Answer = func() (string, error) { return "", io.EOF }
	if err := sasl.Login.Enter(gone, sasl.Credentials{}, sasl.Channel{}); !errors.Is(err, io.EOF) {
		t.Errorf("a server that is gone: %v", err)
	}
}
