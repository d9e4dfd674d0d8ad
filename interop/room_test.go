package interop

import (
	"strings"
	"testing"
	"time"
)

// TestWhenThereIsNoRoomTheNextClientHearsSoAndSessionsGoOn fills usher up to its
// limit of descriptors.
func TestWhenThereIsNoRoomTheNextClientHearsSoAndSessionsGoOn(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{files: 200, config: config + noLimits, accounts: usersOfTwo()})
	var inside []*client
	for {
		c := dial(t, "imap", p.addrs["imap"])
		if line := c.line(); strings.HasPrefix(line, "* BYE [UNAVAILABLE] Too many connections") {
			break
		} else if !strings.HasPrefix(line, "* OK") || len(inside) > 100 {
			t.Fatalf("client %d heard %q", len(inside)+1, line)
		}
		c.enter(ann, annSecret)
		inside = append(inside, c)
	}
	if len(inside) < 40 {
		t.Errorf("with 200 descriptors there is room for %d sessions only", len(inside))
	}
	for _, who := range []struct{ protocol, security, words string }{
		{"imap", "none", "* BYE [UNAVAILABLE] Too many"},
		{"imap", "implicit", "* BYE [UNAVAILABLE] Too many"},
		{"pop3", "none", "-ERR [SYS/TEMP] Too many"},
		{"pop3", "implicit", "-ERR [SYS/TEMP] Too many"},
	} {
		var c *client
		if who.security == "implicit" {
			c = dial(t, who.protocol, p.addrs[who.protocol+"s"])
			c.secure(p.ca)
		} else {
			c = dial(t, who.protocol, p.addrs[who.protocol])
		}
		c.expect(who.words)
		if !c.ended() {
			t.Errorf("%s %s: the connection stays open", who.protocol, who.security)
		}
	}
	for _, c := range inside {
		if answer := c.ask("a NOOP"); !isOK(answer) {
			t.Fatalf("a session hears %q", answer)
		}
	}
	if log := p.logText(); !strings.Contains(log, `msg="connection refused"`) || strings.Contains(log, "cannot accept") {
		t.Errorf("the log does not say who was refused, or that descriptors ran out")
	}
	_ = inside[0].Close()
	p.eventually("there is room again", func() bool {
		c := dial(t, "imap", p.addrs["imap"])
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return strings.HasPrefix(c.line(), "* OK")
	})
}
