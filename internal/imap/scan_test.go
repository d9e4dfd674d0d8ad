package imap

import (
	"errors"
	"strings"
	"testing"

	"usher/internal/transcript"
	"usher/internal/wire"
)

func TestStringsAreReadByTheGrammar(t *testing.T) {
	for _, c := range []struct {
		name, in   string
		want, rest string
		err        error
	}{
		{"atom", "ann secret", "ann", " secret", nil},
		{"atom with a bracket", "a]b c", "a]b", " c", nil},
		{"atom ends at a wildcard", "a*b", "a", "*b", nil},
		{"nothing", "", "", "", errSyntax},
		{"blank", " x", "", "", errSyntax},
		{"8-bit bytes need quotes", "\xfcber", "", "", errSyntax},
		{"quoted", `"a b" c`, "a b", " c", nil},
		{"empty quoted", `"" c`, "", " c", nil},
		{"escapes", `"a\"b\\c"`, `a"b\c`, "", nil},
		{"wrong escape", `"a\b"`, "", "", errSyntax},
		{"escape at the end", `"a\`, "", "", errSyntax},
		{"not closed", `"abc`, "", "", errSyntax},
		{"UTF-8 in quotes", `"änn"`, "änn", "", nil},
		{"literal", "{3}\r\na b c\r\n", "a b", " c", nil},
		{"literal at once", "{3+}\r\na b c\r\n", "a b", " c", nil},
		{"literal with line ends", "{4+}\r\na\r\nb\r\n", "a\r\nb", "", nil},
		{"empty literal", "{0+}\r\n c\r\n", "", " c", nil},
		{"too long, not sent yet", "{4097}", "", "", errSyntax},
		{"too long, on its way", "{4097+}", "", "", wire.ErrTooLong},
		{"four gigabytes", "{4294967296+}", "", "", wire.ErrTooLong},
		{"more than a number holds", "{99999999999999999999999+}", "", "", wire.ErrTooLong},
		{"literal with NUL", "{3+}\r\na\x00b\r\n", "", "", wire.ErrUnclean},
		{"literal not at the end", "{3+} x", "", "", errSyntax},
		{"negative", "{-1+}", "", "", errSyntax},
		{"no number", "{+}", "", "", errSyntax},
		{"literal8", "~{3+}", "~", "{3+}", nil}, // not before login: the rest is no blank
	} {
		first, more, _ := strings.Cut(c.in, "\r\n")
		s := newScanner(wire.New(transcript.Record(more), wire.Bounds{}), first)
		got, err := s.astring()
		if got != c.want || !errors.Is(err, c.err) || err == nil && s.rest != c.rest {
			t.Errorf("%s: got %q, rest %q, %v; want %q, rest %q, %v", c.name, got, s.rest, err, c.want, c.rest, c.err)
		}
	}
}

func TestALiteralIsAskedForOnlyIfItWaits(t *testing.T) {
	for announced, want := range map[string]string{"{3}": "+ OK\r\n", "{3+}": "", "{4097}": ""} {
		p := transcript.Record("abc\r\n")
		s := newScanner(wire.New(p, wire.Bounds{}), announced)
		_, _ = s.astring()
		_ = s.conn.Flush()
		if got := p.Heard.String(); got != want {
			t.Errorf("%s: the client heard %q, want %q", announced, got, want)
		}
	}
}

func TestAnnouncements(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		sync bool
		ok   bool
	}{
		{"{0}", 0, true, true},
		{"{12}", 12, true, true},
		{"{12+}", 12, false, true},
		{"{007}", 7, true, true},
		{"{4294967296}", 4294967296, true, true},
		{"{99999999999999999999}", wire.MaxLiteral + 1, true, true},
		{"", 0, false, false},
		{"{}", 0, false, false},
		{"{+}", 0, false, false},
		{"{1", 0, false, false},
		{"1}", 0, false, false},
		{"{-1}", 0, false, false},
		{"{1++}", 0, false, false},
		{"{1-}", 0, false, false},
		{"{ 1}", 0, false, false},
		{"{1} ", 0, false, false},
		{"x{1}", 0, false, false},
	} {
		n, sync, ok := announced(c.in)
		if ok != c.ok || ok && (n != c.n || sync != c.sync) {
			t.Errorf("announced(%q) = %d, %v, %v; want %d, %v, %v", c.in, n, sync, ok, c.n, c.sync, c.ok)
		}
	}
}

func TestTagsAndBadCommands(t *testing.T) {
	const bad = " BAD Unknown command or wrong syntax before login"
	for in, want := range map[string]string{
		"a1 NOOP":                   "a1 OK Nothing to do",
		"a1 noop":                   "a1 OK Nothing to do",
		"a]. NOOP":                  "a]. OK Nothing to do",
		"+ NOOP":                    "*" + bad,
		"a+ NOOP":                   "*" + bad,
		"* NOOP":                    "*" + bad,
		"(a) NOOP":                  "*" + bad,
		"a1":                        "*" + bad,
		"a1 ":                       "a1" + bad,
		" NOOP":                     "*" + bad,
		"":                          "*" + bad,
		"a1 NOOP ":                  "a1" + bad,
		"a1 NOOP x":                 "a1" + bad,
		"a1 SELECT INBOX":           "a1" + bad,
		"a1 LOGIN":                  "a1" + bad,
		"a1 LOGIN ann":              "a1" + bad,
		"a1 LOGIN ann  secret":      "a1" + bad,
		"a1 LOGIN ann secret x":     "a1" + bad,
		"a1 LOGIN ann sec\x00ret":   "* BAD CR and NUL are not allowed",
		"a1 AUTHENTICATE":           "a1" + bad,
		"a1 AUTHENTICATE NTLM":      "a1 NO Unsupported authentication mechanism.",
		"a1 AUTHENTICATE PLAIN ":    "a1 BAD Invalid authentication data.",
		"a1 AUTHENTICATE PLAIN =":   "a1 BAD Invalid authentication data.",
		"a1 AUTHENTICATE PLAIN !!!": "a1 BAD Invalid authentication data.",
		"a1 ID NIL":                 `* ID ("name" "usher")`,
		"a1 ID ()":                  `* ID ("name" "usher")`,
		`a1 ID ("a" NIL "b" "c")`:   `* ID ("name" "usher")`,
		"a1 ID":                     "a1" + bad,
		"a1 ID (":                   "a1" + bad,
		`a1 ID ("a""b")`:            "a1" + bad,
	} {
		heard, _ := transcript.Serve(t, Protocol{}, in+"\r\n")
		if len(heard) < 2 || heard[1] != want {
			t.Errorf("%q: heard %q, want %q", in, heard, want)
		}
	}
}

func TestAnUnknownCommandTakesItsLiteralsAlong(t *testing.T) {
	heard, asked := transcript.Serve(t, Protocol{}, "a APPEND x {23+}\r\nb LOGIN eve stolen\r\nxyz\r\nc NOOP\r\n")
	if got := heard[len(heard)-1]; got != "c OK Nothing to do" || asked > 0 {
		t.Errorf("the end is %q; %d logins were tried: %q", got, asked, heard)
	}
}

func TestTheRestOfACommandWithAnUncleanLiteralIsNoCommand(t *testing.T) {
	for _, says := range []string{
		"a LOGIN {3+}\r\na\x00n secret\r\nc NOOP\r\n",
		"a LOGIN {3+}\r\na\x00n {22+}\r\nb LOGIN eve stolen\r\nxy\r\nc NOOP\r\n",
		"a SELECT {3+}\r\na\x00n {3+}\r\nabc\r\nc NOOP\r\n",
		"a SELECT {3+}\r\nabc a\x00b\r\nc NOOP\r\n",
	} {
		heard, asked := transcript.Serve(t, Protocol{}, says)
		if len(heard) != 3 || !strings.HasPrefix(heard[1], "a BAD ") || heard[2] != "c OK Nothing to do" || asked > 0 {
			t.Errorf("%q: heard %q, %d logins were tried", says, heard, asked)
		}
	}
}

func TestTheRestOfATooLongAnswerIsNoCommand(t *testing.T) {
	long := strings.Repeat("x", wire.MaxLine)
	heard, asked := transcript.Serve(t, Protocol{}, "a AUTHENTICATE PLAIN\r\n"+long+"b LOGIN eve stolen\r\n")
	if got := heard[len(heard)-1]; got != "* BYE Too much before login." || asked > 0 {
		t.Errorf("the end is %q; %d logins were tried", got, asked)
	}
}
