package interop

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// closedWithin reports whether nobody listens any more.
func closedWithin(addr string, most time.Duration) bool {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return true
		}
		_ = c.Close()
	}
	return false
}

func TestSIGTERMGivesSessionsGrace(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{grace: "3s", config: config, accounts: usersOfTwo()})
	imap, pop3 := p.client(t, "imap", "implicit"), p.client(t, "pop3", "starttls")
	imap.enter(ann, annSecret)
	pop3.enter(bob, bobSecret)
	began := time.Now()
	p.terminate()
	for name, addr := range p.addrs {
		if !closedWithin(addr, time.Second) {
			t.Errorf("%s still accepts connections", name)
		}
	}
	for time.Since(began) < 2*time.Second {
		imap.finds(ann, "east")
		pop3.finds(bob, "west")
	}
	imap.expect("* BYE [UNAVAILABLE] ")
	if took := time.Since(began); took < 2900*time.Millisecond {
		t.Errorf("BYE after %v", took)
	}
	if !imap.ended() || !pop3.ended() {
		t.Error("a connection has not ended")
	}
	if status := p.exits(3 * time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestSIGTERMTellsThoseBeforeLogin(t *testing.T) {
	p := start(t, setup{grace: "20s"})
	for _, x := range []struct{ protocol, words string }{
		{"imap", "* BYE [UNAVAILABLE] "},
		{"pop3", "-ERR [SYS/TEMP] "},
	} {
		for _, security := range securities {
			c := p.client(t, x.protocol, security)
			defer func() {
				c.expect(x.words)
				if !c.ended() {
					t.Errorf("%s %s: the connection has not ended", x.protocol, security)
				}
			}()
		}
	}
	p.terminate()
	if status := p.exits(3 * time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestSIGTERMWaitsNoLongerThanSessions(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{grace: "20s", config: config, accounts: usersOfTwo()})
	c := p.client(t, "imap", "implicit")
	c.enter(ann, annSecret)
	p.terminate()
	c.ask("a LOGOUT")
	_ = c.Close()
	if status := p.exits(3 * time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// The grace is counted from SIGTERM on, also while somebody waits for a backend
// that hangs.
func TestSIGTERMWaitsForNoHangingLogin(t *testing.T) {
	east, _, config := twoStores(t)
	p := start(t, setup{grace: "0s", config: config, accounts: usersOfTwo()})
	open, waiting := p.client(t, "imap", "implicit"), p.client(t, "imap", "implicit")
	open.enter(bob, bobSecret)
	east.Pause()
	waiting.send("a LOGIN %s {%d+}\r\n%s", ann, len(annSecret), annSecret)
	time.Sleep(100 * time.Millisecond) // it is at the backend by now; if not, this tests less
	began := time.Now()
	p.terminate()
	open.expect("* BYE [UNAVAILABLE] ")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("BYE after %v", took)
	}
	if status := p.exits(15 * time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// A goodbye in the middle of a message would become part of it.
func TestSIGTERMSpoilsNoMessage(t *testing.T) {
	east, _, config := twoStores(t)
	text := message(ann, body())
	east.Deliver(ann, string(text))
	for _, security := range securities {
		t.Run(security, func(t *testing.T) {
			p := start(t, setup{config: config, accounts: usersOfTwo()})
			c := p.client(t, "imap", security)
			c.enter(ann, annSecret)
			c.ask("a SELECT INBOX")
			c.send("a FETCH 2 BODY.PEEK[]")
			c.until("* 2 FETCH ")
			p.terminate()
			if status := p.exits(8 * time.Second); status != 0 {
				t.Errorf("exit status %d", status)
			}
			got, _ := io.ReadAll(c.r) // how it ends does not matter
			if !bytes.HasPrefix(text, got) {
				t.Errorf("of %d bytes the last are %q", len(got), got[max(0, len(got)-100):])
			}
		})
	}
}

// usher serve --help promises it.
func TestSecondSIGTERMEndsAtOnce(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{grace: "10s", config: config, accounts: usersOfTwo()})
	c := p.client(t, "imap", "implicit")
	c.enter(ann, annSecret)
	p.terminate()
	p.eventually("usher stops", func() bool { return strings.Contains(p.logText(), "msg=stopping") })
	p.terminate()
	p.forced = true
	p.exits(3 * time.Second)
}
