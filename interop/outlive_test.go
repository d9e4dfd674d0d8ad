package interop

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var full = flag.Bool("full", false, "1,000 sessions under TLS 1.3, 20 kills and 30 upgrades")

// A household is how many clients of each kind there are.
type household struct {
	goQuiet, goBusy, plain int
	pythons                int // with each suite
	openSSLs               int // twice: with a new session, and one that is resumed
	idling, moving         int // of curl, with each suite; moving ones fetch, and as many append
	rounds                 int // in each of which serve is killed and replaced
}

// TestSessionsOutliveUsherServe is the worst that can happen to serve, while bytes flow: it
// is killed, and it is replaced, and the relay process with it, again and again.
func TestSessionsOutliveUsherServe(t *testing.T) {
	c := household{goQuiet: 24, goBusy: 8, plain: 6, pythons: 4, openSSLs: 3, idling: 1, moving: 1, rounds: 2}
	if *full {
		c = household{goQuiet: 740, goBusy: 66, plain: 40, pythons: 40, openSSLs: 24, idling: 4, moving: 2, rounds: 20}
	}
	l := newLasting(t, "")
	all := l.enter(c)
	sleepers := []*client{l.enters(1), l.enters(3)}
	for _, c := range sleepers {
		_ = c.SetDeadline(time.Now().Add(longest))
	}
	total := c.goQuiet + c.goBusy + c.plain + 3*c.pythons + 2*c.openSSLs + 3*(c.idling+2*c.moving) + len(sleepers)
	l.sessionsAre(total)
	for i := range c.rounds {
		if i%2 == 1 { // this time while the relay process is being replaced
			l.hastyUpgrade()
		}
		l.die()
		came := l.knocks(time.Now())
		if i == 0 { // one ends while nobody is there to hear it
			_ = sleepers[1].Close()
			total--
		}
		l.begin()
		visitor := <-came
		l.sessionsAre(total + 1)
		_ = visitor.Close()
		l.upgrade()
		l.sessionsAre(total)
	}
	for _, r := range all {
		r.leave(t)
	}
	l.command("kick", lastingUser)
	sleepers[0].until("* BYE")
	l.command("kick", "s"+lastingUser)
	l.sessionsAre(0)
	l.eventually("each session has its last line", func() bool { return len(l.lastLines()) == total+1+c.rounds })
	for id, n := range l.lastLines() {
		if n > 1 {
			t.Logf("session %s has %d last lines: serve was killed when it had just written one", id, n)
		}
	}
}

// enter has all clients come in.
func (l *lasting) enter(c household) (all []resident) {
	l.t.Helper()
	all = append(all, l.goClients(c.goQuiet, false, 4*time.Second)...)
	all = append(all, l.goClients(c.goBusy, false, 20*time.Millisecond)...)
	all = append(all, l.goClients(c.plain, true, 20*time.Millisecond)...)
	all = append(all, l.pythons(c.pythons)...)
	all = append(all, l.openSSLs(c.openSSLs)...)
	return append(all, l.curlSessions(c.idling, c.moving)...)
}

// knocks has somebody try to log in until it works, and says for how long it did not.
func (l *lasting) knocks(since time.Time) <-chan net.Conn {
	came := make(chan net.Conn, 1)
	addr, ca := l.addrs["imaps"], roots(l.t, l.ca)
	go func() {
		var err error
		for time.Since(since) < time.Minute {
			var c net.Conn
			if c, err = tries(addr, ca); err == nil {
				l.t.Logf("nobody could log in for %v", time.Since(since).Round(time.Millisecond))
				came <- c
				return
			}
			time.Sleep(time.Millisecond)
		}
		l.t.Errorf("nobody can log in: %v", err)
		close(came)
	}()
	return came
}

// tries is one attempt to log in.
func tries(addr string, ca *x509.CertPool) (net.Conn, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", addr, &tls.Config{RootCAs: ca, ServerName: "localhost"})
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(longest))
	_, err = fmt.Fprintf(c, "a LOGIN %s secret\r\n", lastingUser)
	r := bufio.NewReader(c)
	for range 2 {
		var line string
		if line, err = r.ReadString('\n'); err == nil && !strings.Contains(line, " OK ") {
			err = errors.New(line)
		}
		if err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, err
}

var sessionEnded = regexp.MustCompile(`msg="session ended" id=(\w+)`)

// lastLines are how many each session has, in whichever life.
func (l *lasting) lastLines() map[string]int {
	lines := map[string]int{}
	for _, m := range sessionEnded.FindAllStringSubmatch(l.all(), -1) {
		lines[m[1]]++
	}
	return lines
}

// endedOnce holds that each session has one last line.
func (l *lasting) endedOnce(want int) {
	l.t.Helper()
	lines := l.lastLines()
	if len(lines) != want {
		l.t.Errorf("%d sessions have a last line, want %d", len(lines), want)
	}
	for id, n := range lines {
		if n > 1 {
			l.t.Errorf("session %s has %d last lines", id, n)
		}
	}
}

// When it is the relay process that dies, its sessions are lost, and nothing else.
func TestARelayProcessThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	lost := l.enters(0)
	old := l.oldClient(t, "imap")
	old.enter(lastingUser, "secret")
	l.sessionsAre(2)
	relays := l.relays()
	if len(relays) != 1 {
		t.Fatalf("there are %d relay processes", len(relays))
	}
	if err := syscall.Kill(relays[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var b sync.WaitGroup
	b.Go(func() {
		if _, err := lost.r.ReadByte(); err == nil {
			t.Error("a session lives without its process")
		}
	})
	b.Wait()
	l.sessionsAre(1)
	old.send("still here") // under TLS 1.2 it was never there
	old.expect("still here")
	l.eventually("there is another relay process", func() bool { return len(l.relays()) == 1 })
	c := l.enters(1)
	l.sessionsAre(2) // the answer to the login goes out before the session goes over
	l.die()
	l.begin()
	c.send("still here")
	c.expect("still here")
	if n := strings.Count(l.all(), "the relay process has ended"); n != 1 {
		t.Errorf("the log says %d times that the relay process has ended", n)
	}
	if !strings.Contains(l.all(), `why="relay process ended"`) {
		t.Error("the log does not say how the session ended")
	}
}

// systemctl restart sends SIGTERM: sessions go on. usher stop is another matter.
func TestSigtermLeavesSessionsToTheRelayProcess(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	c := l.enters(1)
	l.sessionsAre(1)
	l.terminate()
	if status := l.exits(15 * time.Second); status != 0 {
		t.Errorf("usher ended with status %d", status)
	}
	c.send("still here")
	c.expect("still here")
	if said := fmt.Sprintf(`who wants them to end ends that process (SIGTERM)" pid=%d sessions=1`, l.relays()[0]); !strings.Contains(l.all(), said) {
		t.Errorf("the log does not say where the session is: %s", said)
	}
	l.begin()
	l.sessionsAre(1)
	if out := l.command("status"); !regexp.MustCompile(fmt.Sprintf(`(?m)^%d +relaying +- +1 `, l.relays()[0])).MatchString(out) {
		t.Errorf("usher status does not show the relay process:\n%s", out)
	}
	l.command("stop", "--drain", "0s")
	c.expect("* BYE")
	l.endedOnce(1)
}

// Killed in the middle of an upgrade, whoever it was that had the ports.
func TestSessionsOutliveAnUpgradeThatIsKilled(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	rounds := 4
	if *full {
		rounds = 25
	}
	all := append(l.goClients(4, false, 20*time.Millisecond), l.goClients(2, true, 20*time.Millisecond)...)
	l.sessionsAre(len(all))
	for i := range rounds {
		upgrade := usher(t, "upgrade", "-c", l.file)
		if err := upgrade.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i%25) * 15 * time.Millisecond) // somewhere on its way
		l.die()
		_ = upgrade.Wait() // it may say that nobody is there any more
		l.recovers()
		l.sessionsAre(len(all))
	}
	for _, r := range all {
		r.leave(t)
	}
}

// recovers waits for whoever serves after a kill: a successor, or else another serve.
func (l *lasting) recovers() {
	l.t.Helper()
	l.eventually("somebody serves", func() bool {
		out, _ := usher(l.t, "status", "-c", l.file).Output()
		if m := serving.FindSubmatch(out); m != nil {
			l.pid, _ = strconv.Atoi(string(m[1]))
			return true
		}
		return l.begun()
	})
}

var serving = regexp.MustCompile(`(?m)^\s*(\d+)\s+serving`)

// Whoever has heard that he is in, is: serve may be killed in that moment. And it may be
// killed when they leave, all at once: each has its line in the log, once or twice.
func TestWhoIsLetInStaysWhenServeIsKilled(t *testing.T) {
	t.Parallel()
	l := newLasting(t, "")
	var in []net.Conn
	for range 3 {
		in = append(in, l.rush(8)...)
		l.begin()
	}
	for i, c := range in {
		want := fmt.Sprintf("still here %d\r\n", i)
		got := make([]byte, len(want))
		_, err := fmt.Fprint(c, want)
		if err == nil {
			_, err = io.ReadFull(c, got)
		}
		if err != nil || string(got) != want {
			t.Errorf("session %d of %d hears %q %v", i, len(in), got, err)
		}
	}
	l.sessionsAre(len(in))
	ids := sessionID.FindAllStringSubmatch(l.command("who", "--json"), -1)
	for _, c := range in {
		_ = c.Close()
	}
	l.eventually("some have left", func() bool { return len(l.lastLines()) > len(in)/4 })
	l.die()
	l.begin()
	l.eventually("each has its last line", func() bool {
		lines := l.lastLines()
		for _, id := range ids {
			if lines[id[1]] == 0 {
				return false
			}
		}
		return true
	})
	l.sessionsAre(0)
}

var sessionID = regexp.MustCompile(`"id": ?"(\w+)"`)

// rush has many come in until serve is killed, and returns those that are in.
func (l *lasting) rush(beside int) (in []net.Conn) {
	l.t.Helper()
	addr, ca := l.addrs["imaps"], roots(l.t, l.ca)
	came, over := make(chan net.Conn), make(chan struct{})
	var comers sync.WaitGroup
	for range beside {
		comers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if c, err := tries(addr, ca); err == nil {
					came <- c
				}
			}
		})
	}
	for range 2 * beside {
		in = append(in, <-came)
	}
	go func() { comers.Wait(); close(came) }()
	rest := make(chan []net.Conn)
	go func() {
		var all []net.Conn
		for c := range came {
			all = append(all, c)
		}
		rest <- all
	}()
	l.die()
	close(over)
	return append(in, <-rest...)
}
