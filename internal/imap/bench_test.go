package imap

import (
	"strings"
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
	"usher/internal/wire"
)

// The capabilities of a Dovecot.
const (
	capsBefore = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN"
	capsAfter  = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT THREAD=REFERENCES MULTIAPPEND UNSELECT " +
		"CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN MOVE LITERAL+"
)

func BenchmarkScanLogin(b *testing.B) {
	for name, line := range map[string]string{
		"atoms":  `a001 LOGIN ann@example.org correct-horse`,
		"quoted": `a001 LOGIN "ann@example.org" "correct \"horse"`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				scanLogin(b, &scanner{rest: line})
			}
		})
	}
}

func BenchmarkScanLoginWithLiterals(b *testing.B) {
	const line, more = "a001 LOGIN {15+}", "ann@example.org {13+}\r\ncorrect-horse\r\n"
	b.ReportAllocs()
	for b.Loop() {
		c := wire.New(transcript.Record(more), wire.Bounds{})
		scanLogin(b, newScanner(c, line))
		_ = c.Close()
	}
}

// scanLogin reads a whole command, which must be one.
func scanLogin(b *testing.B, s *scanner) {
	b.Helper()
	_, err := s.tag()
	for _, read := range []func() (string, error){
		func() (string, error) { return s.take(isAtomChar) },
		func() (string, error) { return "", s.space() }, s.astring,
		func() (string, error) { return "", s.space() }, s.astring,
		func() (string, error) { return "", s.end() },
	} {
		if err == nil {
			_, err = read()
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkParseResponse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if r := parseResponse("OK [CAPABILITY " + capsAfter + "] Logged in"); r.text != "Logged in" {
			b.Fatal(r)
		}
	}
}

func BenchmarkCapabilitiesAfterLogin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if after(capsAfter) == "" {
			b.Fatal("none is left")
		}
	}
}

// The answer to a login, as admit builds and queues it.
func BenchmarkAnswerLogin(b *testing.B) {
	tape := transcript.Record("")
	s := &server{conn: wire.New(tape, wire.Bounds{})}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.answer("a001", "OK [CAPABILITY "+after(capsAfter)+"] Logged in")
		if err := s.conn.Flush(); err != nil {
			b.Fatal(err)
		}
		tape.Heard.Reset()
	}
}

// The whole conversation with a server.
func BenchmarkEnter(b *testing.B) {
	says := strings.Join([]string{"* OK [CAPABILITY " + capsBefore + "] ready", "L OK [CAPABILITY " + capsAfter + "] Logged in", ""}, "\r\n")
	t := login.Ticket{User: "ann@example.org", Password: "correct-horse"}
	b.ReportAllocs()
	for b.Loop() {
		c := wire.New(transcript.Record(says), wire.Bounds{})
		if _, err := (Protocol{}).Enter(b.Context(), c, t); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
