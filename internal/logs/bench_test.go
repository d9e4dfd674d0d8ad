package logs

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// What a line costs whoever logs it: to standard error, and to places with a queue.
func BenchmarkLine(b *testing.B) {
	o := Options{Stderr: io.Discard}
	b.Run("logfmt", func(b *testing.B) { benchLine(b, slog.New(logfmt(o))) })
	syslog := Place{network: "tcp", facility: mail}.form("mail.example.org", "usher")
	for name, f := range map[string]form{"journal": journalForm{}, "syslog": syslog} {
		log, end := opened(o, f, func(context.Context) (net.Conn, error) { return nowhere{}, nil })
		b.Run(name, func(b *testing.B) { benchLine(b, log) })
		end()
		full := newHandler(slog.LevelInfo, f, newQueue(bounds{}, nil, nil))
		b.Run(name+"/full", func(b *testing.B) { benchLine(b, slog.New(full)) })
	}
}

func benchLine(b *testing.B, log *slog.Logger) {
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(context.Background(), slog.LevelWarn, "login refused",
			slog.String("id", "0123456789ABCDEF"), slog.String("protocol", "imap"), slog.String("remote", "192.0.2.1:54321"),
			slog.String("tls", "TLSv1.3"), slog.String("why", "wrong name or password"), slog.String("user", "ann@example.org"),
			slog.String("err", `password of "ann@example.org" refused`))
	}
}

// nowhere takes everything at once.
type nowhere struct{ net.Conn }

func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) RemoteAddr() net.Addr             { return &net.UDPAddr{} }
