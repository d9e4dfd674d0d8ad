package listen_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/imap"
	"usher/internal/wire"
)

// drip says one byte a second until nobody listens.
func (v *visitor) drip(text string) {
	for i := 0; ; i++ {
		time.Sleep(time.Second)
		if err := v.say(text[i%len(text) : i%len(text)+1]); err != nil {
			return
		}
	}
}

// An attacker takes a conversation for a bounded time, and its neighbours get in.
func TestAttackersAreLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		play  func(v *visitor)
		lasts time.Duration
		words string // the goodbye
	}{
		{"silence", func(*visitor) {}, time.Minute, "Disconnected for inactivity"},
		{"half a line", func(v *visitor) { _ = v.say("a LOG") }, 30 * time.Second, "Disconnected for inactivity"},
		{"one byte a second", func(v *visitor) { v.drip("x") }, 31 * time.Second, "Disconnected for inactivity"},
		{"short lines, one byte a second", func(v *visitor) { v.drip("NOOP\r\n") }, time.Minute, ""},
		{"a line without end", func(v *visitor) { _, _ = io.Copy(v.nc, xs{}) }, 0, "Too much before login"},
		{"commands without end", func(v *visitor) { v.flood("a1 NOOP\r\n") }, 0, ""},
		{"empty lines without end", func(v *visitor) { v.flood("\r\n") }, 0, "Too many bad commands"},
		{"NULs without end", func(v *visitor) { v.flood("\x00\r\n") }, 0, "Too many bad commands"},
		{"authentication that never ends", func(v *visitor) { v.flood("a AUTHENTICATE LOGIN\r\n") }, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, nil, func(t *testing.T, h *house) {
				began := time.Now()
				v := h.enter("192.0.2.7:1")
				go c.play(v)
				synctest.Wait()
				h.visit()
				got := v.rest()
				if took := time.Since(began); took != c.lasts || !strings.Contains(got, c.words) || len(got) > 200*100 {
					t.Errorf("it took %v, want %v; heard %d bytes, at the end %q", took, c.lasts, len(got), got[max(0, len(got)-80):])
				}
				_ = v.nc.Close()
			})
		})
	}
}

// xs never ends.
type xs struct{}

func (xs) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func (v *visitor) flood(line string) {
	for v.say(line) == nil {
		continue
	}
}

func TestAPeerThatNeverReadsIsLeft(t *testing.T) {
	each(t, nil, func(t *testing.T, h *house) {
		v := h.enter("192.0.2.7:1") // and does not even take the greeting
		synctest.Wait()
		h.visit()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if err := v.say("x"); err == nil {
			t.Error("the connection is still open")
		}
	})
}

func TestALiteralOfFourGigabytesIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct{ says, words string }{
		{"a LOGIN {4294967296}\r\n", "a BAD "},
		{"a LOGIN ann {4294967296}\r\n", "a BAD "},
		{"a LOGIN {4294967296+}\r\n", "* BYE Too much"},
		{"a FOO {4294967296+}\r\n", "* BYE Too much"},
		{"a ID (\"x\" {4294967296+}\r\n", "* BYE Too much"},
	} {
		open(t, imap.Protocol{}, nil, func(_ *testing.T, h *house) {
			v := h.enter("192.0.2.7:1")
			v.hear("* OK ")
			_ = v.say(c.says)
			v.hear(c.words)
			_ = v.nc.Close()
		})
	}
}

func TestManyAttackersDoNotKeepOthersOut(t *testing.T) {
	each(t, nil, func(_ *testing.T, h *house) {
		for range 200 {
			go h.enter("192.0.2.7:1").drip(strings.Repeat("x", wire.MaxLine))
		}
		time.Sleep(10 * time.Second)
		h.visit()
	})
}
