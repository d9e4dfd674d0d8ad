package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"usher/internal/wire"
)

// FuzzReadLine holds ReadLine against a plain reading of the same bytes.
func FuzzReadLine(f *testing.F) {
	for _, s := range []string{
		"a\r\nb\n", "\r\n", "\r\r\n", "a\x00\n", "a\rb\n", "no end", strings.Repeat("x", wire.MaxLine) + "\n",
		strings.Repeat("x", wire.MaxLine-1) + "\n\r\n", strings.Repeat("\n", 300),
	} {
		f.Add([]byte(s), 3)
		f.Add([]byte(s), 4096)
	}
	f.Fuzz(func(t *testing.T, says []byte, piece int) {
		const most = 64 << 10
		c := wire.New(record(string(says), 1+piece&0xffff), wire.Bounds{Bytes: most, Lines: 200})
		for n, rest := 0, says; ; n++ {
			got, err := c.ReadLine()
			want, tail, wantErr := plainly(rest, len(says), n+1)
			if errors.Is(err, wire.ErrUnclean) {
				got = "" // comes along, for who looks on
			}
			if got != want || !errors.Is(err, wantErr) {
				t.Fatalf("line %d: got %.80q and %v, want %.80q and %v", n+1, got, err, want, wantErr)
			}
			if err != nil && !errors.Is(err, wire.ErrUnclean) {
				break
			}
			rest = tail
		}
		_ = c.Close()
	})
}

// plainly reads the nth line of rest, which is the end of total bytes.
func plainly(rest []byte, total, n int) (line string, tail []byte, err error) {
	const most = 64 << 10
	i := bytes.IndexByte(rest, '\n')
	switch {
	case i >= wire.MaxLine, i < 0 && len(rest) >= wire.MaxLine:
		return "", nil, wire.ErrTooLong
	case i < 0:
		return "", nil, io.EOF
	case total-len(rest)+i+1 > most, n > 200:
		return "", nil, wire.ErrTooMuch
	}
	line, tail = strings.TrimSuffix(string(rest[:i]), "\r"), rest[i+1:]
	if strings.ContainsAny(line, "\r\x00") {
		return "", tail, wire.ErrUnclean
	}
	return line, tail, nil
}
