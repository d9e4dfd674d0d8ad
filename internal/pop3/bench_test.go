package pop3

import (
	"testing"

	"usher/internal/login"
	"usher/internal/transcript"
	"usher/internal/wire"
)

func BenchmarkParseReply(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if r, err := parseReply("+OK Logged in."); err != nil || !r.ok {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkCutCode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if code, _ := cutCode("[AUTH] Authentication failed."); code != "AUTH" {
			b.Fatal(code)
		}
	}
}

// The whole conversation with a server.
func BenchmarkEnter(b *testing.B) {
	t := login.Ticket{User: "ann@example.org", Password: "correct-horse", Client: &login.Client{Protocol: Protocol{}}}
	b.ReportAllocs()
	for b.Loop() {
		c := wire.New(transcript.Record("+OK ready.\r\n+OK\r\n+OK Logged in.\r\n"), wire.Bounds{})
		if _, err := (Protocol{}).Enter(b.Context(), c, t); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
