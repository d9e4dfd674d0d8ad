package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"usher/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tape is a peer that has said all it will say, in pieces of one size, and
// keeps what it hears: each element of heard left in one write.
type tape struct {
	net.Conn // nil: nothing else is called
	says     *bytes.Reader
	piece    int
	heard    []string
	closed   bool
}

func record(says string, piece int) *tape {
	return &tape{says: bytes.NewReader([]byte(says)), piece: piece}
}

func (p *tape) Read(b []byte) (int, error)       { return p.says.Read(b[:min(len(b), p.piece)]) }
func (p *tape) Write(b []byte) (int, error)      { p.heard = append(p.heard, string(b)); return len(b), nil }
func (p *tape) SetReadDeadline(time.Time) error  { return nil }
func (p *tape) SetWriteDeadline(time.Time) error { return nil }
func (p *tape) SetDeadline(time.Time) error      { return nil }
func (p *tape) Close() error                     { p.closed = true; return nil }

// all makes a peer that says everything at once.
const all = 1 << 20

// readAll reads lines to the end, and returns them with what ended it.
func readAll(c *wire.Conn) (lines []string, err error) {
	for {
		line, err := c.ReadLine()
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
}

func TestLinesAreReadAsTheyWereSent(t *testing.T) {
	for _, c := range []struct {
		name, says string
		want       []string
		err        error
	}{
		{"CRLF", "a\r\nb c\r\n", []string{"a", "b c"}, io.EOF},
		{"LF only", "a\nb c\n", []string{"a", "b c"}, io.EOF},
		{"empty lines", "\r\n\n", []string{"", ""}, io.EOF},
		{"8-bit bytes", "\xff\xc3\xbc\n", []string{"\xff\xc3\xbc"}, io.EOF},
		{"an unfinished line is none", "a\r\nrest", []string{"a"}, io.EOF},
		{"as long as may be", strings.Repeat("x", wire.MaxLine-2) + "\r\n", []string{strings.Repeat("x", wire.MaxLine-2)}, io.EOF},
		{"one byte longer", strings.Repeat("x", wire.MaxLine-1) + "\r\n", nil, wire.ErrTooLong},
		{"without end", strings.Repeat("x", 3*wire.MaxLine), nil, wire.ErrTooLong},
		{"NUL", "a\x00b\r\n", nil, wire.ErrUnclean},
		{"CR in the middle", "a\rb\r\n", nil, wire.ErrUnclean},
		{"CR before the end", "a\r\r\n", nil, wire.ErrUnclean},
	} {
		for _, piece := range []int{1, 7, all} {
			got, err := readAll(wire.New(record(c.says, piece), wire.Bounds{}))
			if !errors.Is(err, c.err) || !equal(got, c.want) {
				t.Errorf("%s, %d bytes at once: got %.80q and %v, want %.80q and %v", c.name, piece, got, err, c.want, c.err)
			}
		}
	}
}

func equal(a, b []string) bool {
	return strings.Join(a, "\n") == strings.Join(b, "\n") && len(a) == len(b)
}

func TestAnUncleanLineDoesNotHideTheNext(t *testing.T) {
	c := wire.New(record("bad\x00\r\ngood\r\n", all), wire.Bounds{})
	if _, err := c.ReadLine(); !errors.Is(err, wire.ErrUnclean) {
		t.Errorf("got %v, want %v", err, wire.ErrUnclean)
	}
	if line, err := c.ReadLine(); line != "good" || err != nil {
		t.Errorf("the next line is %q %v", line, err)
	}
}

func TestTheRestOfATooLongLineIsNeverACommand(t *testing.T) {
	c := wire.New(record(strings.Repeat("x", wire.MaxLine)+"a1 LOGOUT\r\n", all), wire.Bounds{})
	for range 2 {
		if line, err := c.ReadLine(); !errors.Is(err, wire.ErrTooLong) {
			t.Errorf("got %q and %v, want %v", line, err, wire.ErrTooLong)
		}
	}
}

func TestLiterals(t *testing.T) {
	for _, c := range []struct {
		name, says string
		n          int
		want       string
		err        error
	}{
		{"with line ends in it", "a\r\nb\n", 5, "a\r\nb\n", nil},
		{"empty", "rest", 0, "", nil},
		{"as long as may be", strings.Repeat("x", wire.MaxLiteral), wire.MaxLiteral, strings.Repeat("x", wire.MaxLiteral), nil},
		{"one byte longer", strings.Repeat("x", wire.MaxLiteral+1), wire.MaxLiteral + 1, "", wire.ErrTooLong},
		{"four gigabytes", "x", 4 << 30, "", wire.ErrTooLong},
		{"cut off", "abc", 4, "", io.ErrUnexpectedEOF},
		{"nothing comes", "", 4, "", io.EOF},
		{"NUL", "a\x00b", 3, "", wire.ErrUnclean},
	} {
		for _, piece := range []int{1, all} {
			got, err := wire.New(record(c.says, piece), wire.Bounds{}).ReadN(c.n)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, %d bytes at once: got %.40q and %v, want %.40q and %v", c.name, piece, got, err, c.want, c.err)
			}
		}
	}
}

func TestAPeerMayNotSendMoreThanAConversationHolds(t *testing.T) {
	for _, c := range []struct {
		name   string
		bounds wire.Bounds
		lines  int // that are read before the bound
	}{
		{"bytes", wire.Bounds{Bytes: 10}, 3}, // of 3 bytes each
		{"lines", wire.Bounds{Lines: 4}, 4},
		{"none", wire.Bounds{}, 100},
	} {
		conn := wire.New(record(strings.Repeat("x\r\n", 100), all), c.bounds)
		got, err := readAll(conn)
		want := wire.ErrTooMuch
		if c.name == "none" {
			want = io.EOF
		}
		if len(got) != c.lines || !errors.Is(err, want) {
			t.Errorf("%s: read %d lines and %v, want %d and %v", c.name, len(got), err, c.lines, want)
		}
	}
	c := wire.New(record("0123456789", all), wire.Bounds{Bytes: 9})
	if got, err := c.ReadN(10); !errors.Is(err, wire.ErrTooMuch) {
		t.Errorf("a literal over the bound gives %q and %v", got, err)
	}
}

// talk gives the test both ends of an unbuffered connection in a bubble of
// synthetic time.
func talk(t *testing.T, b func() wire.Bounds, play func(c *wire.Conn, peer net.Conn)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		near, far := net.Pipe()
		c := wire.New(near, b())
		play(c, far)
		_, _ = c.Close(), far.Close()
		time.Sleep(time.Hour) // of synthetic time: the peer's goroutine ends
	})
}

// drip says something slowly: one byte a second.
func drip(peer net.Conn, text string) {
	for i := range text {
		time.Sleep(time.Second)
		if _, err := peer.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

func lasts(t *testing.T, what string, want time.Duration, err error, f func() error) {
	t.Helper()
	began := time.Now()
	if got := f(); !errors.Is(got, err) {
		t.Errorf("%s: got %v, want %v", what, got, err)
	}
	if took := time.Since(began); took != want {
		t.Errorf("%s: took %v, want %v", what, took, want)
	}
}

func readLine(c *wire.Conn) func() error {
	return func() error { _, err := c.ReadLine(); return err }
}

func step(d time.Duration) func() wire.Bounds {
	return func() wire.Bounds { return wire.Bounds{Step: d} }
}

func until(step, d time.Duration) func() wire.Bounds {
	return func() wire.Bounds { return wire.Bounds{Step: step, Until: time.Now().Add(d)} }
}

func TestOneByteASecondIsCutOff(t *testing.T) {
	talk(t, step(5*time.Second), func(c *wire.Conn, peer net.Conn) {
		go drip(peer, "a line that never comes to its end")
		lasts(t, "a dripping line", 1*time.Second+5*time.Second, os.ErrDeadlineExceeded, readLine(c))
	})
	talk(t, step(5*time.Second), func(c *wire.Conn, peer net.Conn) {
		go drip(peer, "a literal that never comes to its end")
		lasts(t, "a dripping literal", 1*time.Second+5*time.Second, os.ErrDeadlineExceeded, func() error { _, err := c.ReadN(30); return err })
	})
}

func TestTheRestOfALineMustFollowAPipelinedOne(t *testing.T) {
	talk(t, step(5*time.Second), func(c *wire.Conn, peer net.Conn) {
		go func() { _, _ = io.WriteString(peer, "a1 NOOP\r\na2 NO") }()
		lasts(t, "the first line", 0, nil, readLine(c))
		lasts(t, "half a line", 5*time.Second, os.ErrDeadlineExceeded, readLine(c))
	})
}

func TestAPeerMayThinkBetweenLines(t *testing.T) {
	talk(t, until(5*time.Second, time.Minute), func(c *wire.Conn, peer net.Conn) {
		go func() {
			time.Sleep(50 * time.Second)
			_, _ = io.WriteString(peer, "a1 NOOP\r\n")
		}()
		lasts(t, "the first line", 50*time.Second, nil, readLine(c))
		lasts(t, "the whole conversation", 10*time.Second, os.ErrDeadlineExceeded, readLine(c))
	})
}

func TestNoStepGoesBeyondTheEnd(t *testing.T) {
	talk(t, until(time.Hour, time.Minute), func(c *wire.Conn, peer net.Conn) {
		go drip(peer, strings.Repeat("x", 100))
		lasts(t, "a dripping line", time.Minute, os.ErrDeadlineExceeded, readLine(c))
	})
}

func TestACutOffLineIsNotGoneOnWith(t *testing.T) {
	talk(t, step(5*time.Second), func(c *wire.Conn, peer net.Conn) {
		go func() {
			_, _ = io.WriteString(peer, "a1 LO")
			time.Sleep(6 * time.Second)
			_, _ = io.WriteString(peer, "GOUT\r\n")
		}()
		lasts(t, "half a line", 5*time.Second, os.ErrDeadlineExceeded, readLine(c))
		time.Sleep(2 * time.Second)
		lasts(t, "the other half", 0, os.ErrDeadlineExceeded, readLine(c))
	})
}

func TestAPeerThatDoesNotListenIsLeft(t *testing.T) {
	talk(t, step(5*time.Second), func(c *wire.Conn, _ net.Conn) {
		_ = c.WriteLine("* hello")
		lasts(t, "a write", 5*time.Second, os.ErrDeadlineExceeded, c.Flush)
		lasts(t, "the next", 0, os.ErrDeadlineExceeded, readLine(c))
	})
}

func TestTheReasonForTheEndStillLeaves(t *testing.T) {
	talk(t, until(5*time.Second, time.Minute), func(c *wire.Conn, peer net.Conn) {
		lasts(t, "silence", time.Minute, os.ErrDeadlineExceeded, readLine(c))
		heard := make(chan string, 1)
		go func() {
			b := make([]byte, 100)
			n, _ := peer.Read(b)
			heard <- string(b[:n])
		}()
		_ = c.WriteLine("* BYE too slow")
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		if got := <-heard; got != "* BYE too slow\r\n" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestAnUncleanLineIsNotWritten(t *testing.T) {
	for _, part := range []string{"a\r\nDELE 1", "a\n", "\r", "a\x00"} {
		peer := record("", all)
		c := wire.New(peer, wire.Bounds{})
		_ = c.WriteLine("before")
		if err := c.WriteLine("PASS ", part); !errors.Is(err, wire.ErrUnclean) {
			t.Errorf("%q was written (%v)", part, err)
		}
		_ = c.WriteLine("after")
		if err := c.Flush(); !errors.Is(err, wire.ErrUnclean) {
			t.Errorf("%q: Flush says %v", part, err)
		}
		if _, err := c.ReadLine(); !errors.Is(err, wire.ErrUnclean) {
			t.Errorf("%q: ReadLine says %v", part, err)
		}
		if len(peer.heard) > 0 {
			t.Errorf("%q: the peer heard %q", part, peer.heard)
		}
	}
}

func TestAnswersToPipelinedLinesLeaveTogether(t *testing.T) {
	peer := record("a\r\nb\r\nc\r\n", all)
	c := wire.New(peer, wire.Bounds{})
	_ = c.WriteLine("hello")
	for range 3 {
		line, err := c.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.WriteLine("you said ", line)
	}
	if len(peer.heard) != 1 {
		t.Errorf("while lines wait, the peer heard %q", peer.heard)
	}
	_, _ = c.ReadLine()
	want := []string{"hello\r\n", "you said a\r\nyou said b\r\nyou said c\r\n"}
	if !equal(peer.heard, want) {
		t.Errorf("the peer heard %q, want %q", peer.heard, want)
	}
}

func TestAQuestionLeavesBeforeItsAnswerIsAwaited(t *testing.T) {
	peer := record("a1 LOGIN {3}\r\nann", 14) // the literal comes when it is asked for
	c := wire.New(peer, wire.Bounds{})
	_, _ = c.ReadLine()
	_ = c.WriteLine("+ OK")
	if got, err := c.ReadN(3); got != "ann" || err != nil {
		t.Errorf("got %q %v", got, err)
	}
	if !equal(peer.heard, []string{"+ OK\r\n"}) {
		t.Errorf("the peer heard %q", peer.heard)
	}
}

func TestALongAnswerDoesNotPileUp(t *testing.T) {
	peer := record("", all)
	c := wire.New(peer, wire.Bounds{})
	line := strings.Repeat("x", 1000)
	for range 100 {
		_ = c.WriteLine(line)
	}
	_ = c.Flush()
	if len(peer.heard) < 10 {
		t.Errorf("100 KB left in %d writes: all of it was kept", len(peer.heard))
	}
	if got := strings.Join(peer.heard, ""); got != strings.Repeat(line+"\r\n", 100) {
		t.Errorf("%d bytes arrived, or others", len(got))
	}
}

// A client that sends everything at once does not stay longer than others.
func TestWhatWasSentAheadDoesNotOutliveTheConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := wire.New(record(strings.Repeat("LOGIN\r\n", 10), 4096), wire.Bounds{Until: time.Now().Add(3 * time.Second)})
		for n := 0; ; n++ {
			if _, err := c.ReadLine(); err != nil {
				if n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("line %d: %v", n, err)
				}
				return
			}
			time.Sleep(time.Second) // the answer takes so long
		}
	})
}
