package interop

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// crowd is how many sessions stay while usher is reloaded and replaced: half of
// them under TLS.
const (
	crowd     = 1000
	people    = 25 // whose sessions they are
	reloads   = 20
	upgrades  = 5
	patience  = 3 * time.Minute
	newLogins = 3 // at a time, all the while
)

// manyUsers are people with mailboxes.
func manyUsers() (names []string, passwords map[string]string) {
	passwords = map[string]string{}
	for i := range people {
		names = append(names, fmt.Sprintf("user%d@example.org", i))
		passwords[names[i]] = "secret"
	}
	return names, passwords
}

// TestReloadsAndUpgradesDisturbNobody is what an administrator does on a busy
// day.
func TestReloadsAndUpgradesDisturbNobody(t *testing.T) {
	names, passwords := manyUsers()
	d := newStore(t, "east", dovecot.Options{Users: passwords, Extra: crowdOfDovecot})
	var accounts []account
	for _, name := range names {
		accounts = append(accounts, unchecked(name, "east"))
	}
	p := start(t, setup{grace: "5s", config: store("east", d, "none") + noLimits, accounts: accounts})
	defer p.stopAll()

	sleepers := p.sleepers(names)
	stop := p.keepLoggingIn(names[0])
	upgradesDone := 0
	for i := range reloads {
		p.command("reload")
		if i%(reloads/upgrades) == 0 {
			p.command("upgrade")
			upgradesDone++
			for _, name := range names {
				d.Deliver(name, fmt.Sprintf("Subject: after upgrade %d\r\n\r\nhello\r\n", upgradesDone))
			}
			p.allHear(sleepers, fmt.Sprintf("* %d EXISTS", upgradesDone+1)) // one was there before
		}
	}
	if n := stop(); n < reloads {
		t.Errorf("only %d logins went through meanwhile", n)
	}
	if upgradesDone != upgrades {
		t.Errorf("%d upgrades, want %d", upgradesDone, upgrades)
	}
	p.counts(crowd)
}

// crowdOfDovecot lets one Dovecot have so many sessions, and see new mail without
// the kernel's notifications, of which one user may have 128 only.
const crowdOfDovecot = `
mailbox_idle_check_interval = 1s
service imap {
  process_limit = 3000
}
service imap-login {
  client_limit = 4000
}
`

const noLimits = "[limit]\nsessions_per_user = 0\nsessions_per_user_address = 0\n"

// A sleeper is a client that waits for mail.
type sleeper struct {
	*client
	name string
}

// sleepers logs the crowd in and lets it wait.
func (p *proxy) sleepers(names []string) []*sleeper {
	p.t.Helper()
	all := make([]*sleeper, crowd)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < crowd; i += 8 {
				all[i] = p.sleeper(names[i%people], []string{"none", "implicit"}[i%2])
			}
		})
	}
	wg.Wait()
	return all
}

func (p *proxy) sleeper(name, security string) *sleeper {
	c := p.client(p.t, "imap", security)
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	c.enter(name, "secret")
	c.ask("a SELECT INBOX")
	c.send("a IDLE")
	c.until("+ ")
	return &sleeper{c, name}
}

// keepLoggingIn has clients come and go until stop is called, which returns how
// many there were. All must be let in.
func (p *proxy) keepLoggingIn(name string) (stop func() int) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var n atomic.Int64
	for w := range newLogins {
		wg.Go(func() {
			for i := w; !over.Load(); i++ {
				c := p.client(p.t, protocols[i%2], securities[i%3])
				c.enter(name, "secret")
				_ = c.Close()
				n.Add(1)
			}
		})
	}
	return func() int {
		over.Store(true)
		wg.Wait()
		return int(n.Load())
	}
}

// allHear waits until every sleeper has heard a line.
func (p *proxy) allHear(all []*sleeper, line string) {
	p.t.Helper()
	var deaf atomic.Int64
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			for {
				got, err := s.r.ReadString('\n')
				if err != nil {
					deaf.Add(1)
					return
				}
				if strings.TrimSpace(got) == line {
					return
				}
			}
		})
	}
	wg.Wait()
	if n := deaf.Load(); n > 0 {
		p.t.Fatalf("%d of %d sessions were lost before they heard %q", n, len(all), line)
	}
}

// counts holds how many sessions usher says there are, in all its processes.
func (p *proxy) counts(want int) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("there are %d sessions", want), func() bool {
		return strings.Count(p.command("who", "--json"), `"id"`) == want
	})
}

// stopAll ends the processes that have replaced the one that the test started.
func (p *proxy) stopAll() {
	p.command("stop", "--drain", "0s")
}

func TestAnUpgradeThatFailsIsNotNoticed(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	c := p.client(t, "imap", "none")
	c.enter(ann, annSecret)
	write(t, p.file, "[") // what the new process reads
	if out, err := usher(t, "upgrade", "--admin", p.admin()).CombinedOutput(); err == nil {
		t.Errorf("usher upgrade says %s", out)
	}
	c.finds(ann, "east")
	p.visit(t, "pop3", bob, bobSecret, "west")
	if out, err := usher(t, "reload", "--admin", p.admin()).CombinedOutput(); err == nil || !strings.Contains(string(out), "usher.toml:1:") {
		t.Errorf("usher reload says %v: %s", err, out)
	}
	p.visit(t, "imap", bob, bobSecret, "west")
	if out := output(t, usher(t, "who", "--admin", p.admin(), ann)); !strings.Contains(out, ann) {
		t.Errorf("usher who says %s", out)
	}
}

// A crash in the middle of a handover costs nobody whose session has moved, nor
// those who have not moved yet if it is the new process that crashes.
func TestTheOldProcessMayDieOnceASessionHasMoved(t *testing.T) {
	t.Parallel()
	_, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	defer p.stopAll()
	plain, secured := p.client(t, "imap", "none"), p.client(t, "imap", "implicit")
	plain.enter(ann, annSecret)
	secured.enter(ann, annSecret)
	stays := p.oldClient(t, "imap")
	stays.enter(bob, bobSecret)
	p.command("upgrade")
	p.eventually("two sessions have moved", func() bool { return p.moved(ann) })
	p.forced = true
	_ = p.process.Process.Signal(syscall.SIGKILL)
	<-p.ended
	plain.finds(ann, "east")
	secured.finds(ann, "east")
	if !stays.ended() {
		t.Error("a session under TLS 1.2 lives without its process")
	}
	p.visit(t, "imap", bob, bobSecret, "west")
	p.counts(2)
}

// moved tells whether a user's sessions are in another process than the one that
// the test has started.
func (p *proxy) moved(user string) bool {
	out := p.command("who", user, "--json")
	return strings.Contains(out, `"user"`) && !strings.Contains(out, fmt.Sprintf(`"pid":%d`, p.process.Process.Pid)) &&
		!strings.Contains(out, fmt.Sprintf(`"pid": %d`, p.process.Process.Pid))
}
