package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An assault is who comes at once, and for how long.
type assault struct {
	attackers, networks int
	users               int // each in a network of his own
	office              int // users at one address, whom one more attacker is among
	step                time.Duration
	lasts               time.Duration
}

// An outcome is what became of it.
type outcome struct {
	tries, unheard atomic.Int64    // wrong passwords that were looked at, and that were not
	alone, among   []time.Duration // how long users took to log in, without attackers and with them
	office         []time.Duration
	before, after  sample
}

func (o *outcome) String() string {
	return fmt.Sprintf("%5d tries, %d not looked at; logins %v alone, %v among them (%d), %v at most in the office (%d); %d KB, then %d KB",
		o.tries.Load(), o.unheard.Load(), median(o.alone), median(o.among), len(o.among), slices.Max(append(o.office, 0)), len(o.office),
		o.before.rss>>10, o.after.rss>>10)
}

func median(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2].Round(100 * time.Microsecond)
}

// TestSiege lets attackers guess for a minute, without penalties and with them, while
// users log in. In the taste of it a minute is six seconds.
func TestSiege(t *testing.T) {
	a := assault{attackers: 100, networks: 25, users: 20, office: 20, step: 200 * time.Millisecond, lasts: 6 * time.Second}
	factor := int64(20) // so short a delay leaves something to chance
	if *full {
		a = assault{attackers: 200, networks: 50, users: 100, office: 100, step: 2 * time.Second, lasts: time.Minute}
		factor = 50
	}
	needFiles(t, 8*(a.attackers+a.users+a.office))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+5*a.lasts)
	defer cancel()
	limits := fmt.Sprintf("failure_delay = %q\n", a.step)
	without := a.run(ctx, t, startUsher(ctx, t, limits+`failure_delay_max = "0s"`, inClear))
	with := a.run(ctx, t, startUsher(ctx, t, limits, inClear))
	t.Logf("%d attackers in %d networks for %v\nwithout penalties: %v\nwith penalties:    %v", a.attackers, a.networks, a.lasts, without, with)

	if tries := with.tries.Load(); tries*factor > without.tries.Load() {
		t.Errorf("attackers have %d tries, and without penalties %d: not %d times fewer", tries, without.tries.Load(), factor)
	}
	if alone, among := median(with.alone), median(with.among); among > 2*alone+50*time.Millisecond {
		t.Errorf("a login takes %v, and among attackers %v", alone, among)
	}
	if len(with.office) < a.office {
		t.Errorf("of %d users in the office %d got in", a.office, len(with.office))
	}
	if most := with.before.rss + with.before.rss/4 + 32<<20; with.after.rss > most {
		t.Errorf("memory grew from %d to %d KB", with.before.rss>>10, with.after.rss>>10)
	}
}

// run is the program: users alone, then with attackers.
func (a assault) run(ctx context.Context, t *testing.T, u *usher) *outcome {
	t.Helper()
	o := new(outcome)
	calm, end := context.WithTimeout(ctx, a.lasts/4)
	defer end()
	atHome := func(i int) string { return fmt.Sprintf("127.1.0.%d", i) }
	office := func(int) string { return "127.3.0.1" }
	o.alone = a.visits(calm, t, u, a.users, atHome)
	o.before = u.sample(t)

	ctx, end = context.WithTimeout(ctx, a.lasts)
	defer end()
	var all sync.WaitGroup
	var next atomic.Int64
	for i := range a.attackers {
		all.Go(func() { o.guess(ctx, u, fmt.Sprintf("127.2.0.%d", i%a.networks), &next) })
	}
	all.Go(func() { new(outcome).guess(ctx, u, office(0), &next) })
	all.Go(func() { o.among = a.visits(ctx, t, u, a.users, atHome) })
	time.Sleep(a.lasts / 20) // the attacker is in the office before the others
	o.office = a.visits(ctx, t, u, a.office, office)
	all.Wait()
	o.after = u.sample(t)
	return o
}

// visits has so many users log in and out until ctx ends, each ten times at most, and
// returns how long their logins took.
func (a assault) visits(ctx context.Context, t *testing.T, u *usher, n int, from func(int) string) (took []time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	pause := a.lasts / 10
	for i := range n {
		all.Go(func() {
			wait(ctx, pause*time.Duration(i)/time.Duration(n)) // not all at once
			for ctx.Err() == nil {
				began := time.Now()
				err := comeAndGo(ctx, u, from(i), user(i))
				mu.Lock()
				switch {
				case err == nil:
					took = append(took, time.Since(began))
				case !ends(ctx):
					t.Errorf("user %d from %s, after %v: %v", i, from(i), time.Since(began), err)
				}
				mu.Unlock()
				wait(ctx, pause)
			}
		})
	}
	all.Wait()
	return took
}

// ends tells whether time is up, or as good as.
func ends(ctx context.Context) bool {
	end, _ := ctx.Deadline()
	return time.Until(end) < 100*time.Millisecond
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// A visitor speaks IMAP from an address of its own. It is gone when ctx ends.
type visitor struct {
	net.Conn
	in   *bufio.Reader
	stay func() bool
}

func (v *visitor) Close() error {
	v.stay()
	return v.Conn.Close()
}

func arrive(ctx context.Context, u *usher, from string) (*visitor, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.DialContext(ctx, "tcp", u.doors[0].addr)
	if err != nil {
		return nil, err
	}
	v := &visitor{nc, bufio.NewReaderSize(nc, 512), context.AfterFunc(ctx, func() { _ = nc.Close() })}
	if _, err = v.in.ReadString('\n'); err != nil {
		_ = v.Close()
		return nil, err
	}
	return v, nil
}

// login returns how usher answers.
func (v *visitor) login(name, password string) (string, error) {
	if _, err := fmt.Fprintf(v, "a LOGIN %s %s\r\n", name, password); err != nil {
		return "", err
	}
	return v.in.ReadString('\n')
}

func comeAndGo(ctx context.Context, u *usher, from, name string) error {
	v, err := arrive(ctx, u, from)
	if err != nil {
		return err
	}
	defer v.Close()
	switch answer, err := v.login(name, password); {
	case err != nil:
		return err
	case !strings.HasPrefix(answer, "a OK"):
		return fmt.Errorf("heard %q", answer)
	}
	_, err = io.WriteString(v, "b LOGOUT\r\n")
	return err
}

// guess tries five passwords of each of 10,000 users, with the other attackers, some of
// which there are; on a new connection when the old one is ended.
func (o *outcome) guess(ctx context.Context, u *usher, from string, next *atomic.Int64) {
	for ctx.Err() == nil {
		v, err := arrive(ctx, u, from)
		for err == nil {
			n := next.Add(1)
			var answer string
			answer, err = v.login(fmt.Sprintf("user%d@example.org", n%10_000), fmt.Sprintf("password%d", n/10_000%5))
			switch {
			case strings.HasPrefix(answer, "a NO [AUTHENTICATIONFAILED]"):
				o.tries.Add(1)
			case answer != "":
				o.unheard.Add(1)
			}
		}
		if v != nil {
			_ = v.Close()
		}
		wait(ctx, 50*time.Millisecond)
	}
}
