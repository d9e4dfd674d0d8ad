package wire_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"usher/internal/wire"
)

// A parrot says the same again and again, as much as is read at a time, and
// does not listen.
type parrot struct {
	net.Conn // nil: nothing else is called
	says     string
}

func (p parrot) Read(b []byte) (int, error)     { return copy(b, p.says), nil }
func (parrot) Write(b []byte) (int, error)      { return len(b), nil }
func (parrot) SetReadDeadline(time.Time) error  { return nil }
func (parrot) SetWriteDeadline(time.Time) error { return nil }
func (parrot) SetDeadline(time.Time) error      { return nil }
func (parrot) Close() error                     { return nil }

// bounds are those of a client, but for the sums.
func bounds() wire.Bounds {
	return wire.Bounds{Step: 30 * time.Second, Until: time.Now().Add(time.Hour)}
}

func BenchmarkReadLine(b *testing.B) {
	const line = "a001 LOGIN ann@example.org correct-horse\r\n"
	for name, says := range map[string]string{"single": line, "pipelined": strings.Repeat(line, 20)} {
		b.Run(name, func(b *testing.B) {
			c := wire.New(parrot{says: says}, bounds())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.ReadLine(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadLiteral(b *testing.B) {
	c := wire.New(parrot{says: strings.Repeat("x", 100)}, bounds())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.ReadN(100); err != nil {
			b.Fatal(err)
		}
	}
}

// An answer of three parts leaves by itself.
func BenchmarkWriteLine(b *testing.B) {
	c := wire.New(parrot{}, bounds())
	b.ReportAllocs()
	for b.Loop() {
		_ = c.WriteLine("a001", " ", "OK Nothing to do")
		if err := c.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// The life of a Conn: a greeting, a line, and the way to the relay.
func BenchmarkConversation(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		c := wire.New(parrot{says: "a NOOP\r\n"}, bounds())
		_ = c.WriteLine("* OK ready")
		if _, err := c.ReadLine(); err != nil {
			b.Fatal(err)
		}
		_ = c.Detach()
	}
}
