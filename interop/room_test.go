package interop

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWhenThereIsNoRoomTheNextClientHearsSoAndSessionsGoOn fills usher up to its
// limit of descriptors.
func TestWhenThereIsNoRoomTheNextClientHearsSoAndSessionsGoOn(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{files: 200, config: config + noLimits, accounts: usersOfTwo()})
	inside := p.fill(t)
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

// fill logs in as many as there is room for by what usher says itself.
func (p *proxy) fill(t *testing.T) (inside []*client) {
	t.Helper()
	said := regexp.MustCompile(`msg=room connections=(\d+)`).FindStringSubmatch(p.logText())
	if said == nil {
		t.Fatal("usher does not say for how many there is room")
	}
	room, _ := strconv.Atoi(said[1])
	for len(inside) < room {
		p.eventually("there is room for one more", func() bool { // who logs in counts twice for a moment
			c := dial(t, "imap", p.addrs["imap"])
			if strings.HasPrefix(c.line(), "* BYE [UNAVAILABLE] Too many connections") {
				return false
			}
			c.enter(ann, annSecret)
			inside = append(inside, c)
			return true
		})
	}
	return inside
}
