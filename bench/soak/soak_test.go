// Package soak loads a real usher process for a while and checks that nothing
// grows: many sessions are idle while others log in and out, by IMAP and POP3,
// with TLS and without.
//
//	go test ./bench/soak          # a taste: some seconds
//	go test ./bench/soak -full -v # 2,000 sessions, 200 logins a second, a minute
//
// siege_test.go has passwords guessed by many while users log in; refusals_test.go
// measures whether the time of a refusal tells more than its words.
//
// The passwords are {PLAIN}: what is measured is usher. ARGON2ID takes about
// 20 ms of a core for each login, so 200 a second would need four cores for that
// alone.
package soak

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

var full = flag.Bool("full", false, "the whole load, for a minute")

// A plan is how much is done.
type plan struct {
	sessions int // that are idle all the time
	rate     int // logins a second
	warm     time.Duration
	load     time.Duration
}

func TestSoak(t *testing.T) {
	p := plan{sessions: 200, rate: 20, warm: time.Second, load: 5 * time.Second}
	if *full {
		p = plan{sessions: 2000, rate: 200, warm: 10 * time.Second, load: time.Minute}
	}
	needFiles(t, 2*p.sessions+p.rate*10)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+2*p.load)
	defer cancel()
	soak(ctx, t, p)
}

// soak is the program. Samples are taken at rest: when no login is on its way.
func soak(ctx context.Context, t *testing.T, p plan) {
	u := startUsher(ctx, t, "", inClear)
	table := new(table)

	load(ctx, t, u, plan{rate: 20, load: time.Second})
	base := u.settle(t, 0)
	table.add("no session", base, nil)

	idle := openIdle(ctx, t, u, p.sessions)
	open := base.sockets + 2*p.sessions
	load(ctx, t, u, plan{rate: p.rate, load: p.warm})
	begin := u.settle(t, open)
	table.add("begin", begin, nil)

	took := load(ctx, t, u, p)
	end := u.settle(t, open)
	table.add("end", end, took)
	checkGrowth(t, begin, end)

	askIdle(t, idle)
	closeIdle(idle)
	table.add("closed", u.settle(t, base.sockets), nil)
	t.Logf("%d idle sessions, %d logins a second for %v\n%s", p.sessions, p.rate, p.load, table)

	u.checkLog(t)
	u.checkGoroutines(t)
}

// checkGrowth allows what the garbage collector leaves lying about.
func checkGrowth(t *testing.T, begin, end sample) {
	t.Helper()
	if most := begin.rss + begin.rss/10 + 16<<20; end.rss > most {
		t.Errorf("memory grew from %d to %d KB", begin.rss>>10, end.rss>>10)
	}
	if most := begin.files + 16; end.files > most {
		t.Errorf("open files grew from %d to %d", begin.files, end.files)
	}
	if most := begin.threads + 16; end.threads > most {
		t.Errorf("threads grew from %d to %d", begin.threads, end.threads)
	}
}

// load logs in and out at a steady rate, every kind in turn, and returns how
// long the logins took. It ends when the last one has been answered.
func load(ctx context.Context, t *testing.T, u *usher, p plan) []time.Duration {
	t.Helper()
	n := int(p.load.Seconds() * float64(p.rate))
	took, errs := make([]time.Duration, n), make([]error, n)
	tick := time.NewTicker(time.Second / time.Duration(p.rate))
	defer tick.Stop()
	var wg sync.WaitGroup
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
		wg.Go(func() { took[i], errs[i] = visit(ctx, u, i) })
	}
	wg.Wait()
	report(t, "login", errs)
	return took
}

// visit is a login, a word and a logout.
func visit(ctx context.Context, u *usher, i int) (time.Duration, error) {
	began := time.Now()
	c, err := enter(ctx, u, i)
	took := time.Since(began)
	if err != nil {
		return took, err
	}
	defer c.Close()
	if err := c.ask(); err != nil {
		return took, err
	}
	return took, c.leave()
}

// openIdle logs in n clients that then stay, some at a time.
func openIdle(ctx context.Context, t *testing.T, u *usher, n int) []*client {
	t.Helper()
	idle, errs := make([]*client, n), make([]error, n)
	room := make(chan struct{}, 20)
	var wg sync.WaitGroup
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			idle[i], errs[i] = enter(ctx, u, i)
			<-room
		})
	}
	wg.Wait()
	t.Cleanup(func() { closeIdle(idle) })
	if report(t, "idle session", errs) {
		t.FailNow()
	}
	return idle
}

// askIdle checks that all of them are still served.
func askIdle(t *testing.T, idle []*client) {
	t.Helper()
	errs := make([]error, len(idle))
	for i, c := range idle {
		errs[i] = c.ask()
	}
	report(t, "idle session, at the end", errs)
}

func closeIdle(idle []*client) {
	for _, c := range idle {
		if c != nil {
			_ = c.Close()
		}
	}
}

// report names a few of the errors.
func report(t *testing.T, what string, errs []error) (failed bool) {
	t.Helper()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	for _, err := range errs[:min(len(errs), 5)] {
		t.Errorf("%s: %v", what, err)
	}
	if len(errs) > 5 {
		t.Errorf("%s: and %d more", what, len(errs)-5)
	}
	return len(errs) > 0
}

// A table is what was measured.
type table struct{ text string }

func (t *table) add(when string, s sample, took []time.Duration) {
	if t.text == "" {
		t.text = fmt.Sprintf("%-12s %9s %8s %6s %8s %7s %9s %9s %9s\n", "", "RSS KB", "sockets", "files", "threads", "logins", "median", "p99", "max")
	}
	t.text += fmt.Sprintf("%-12s %9d %8d %6d %8d", when, s.rss>>10, s.sockets, s.files, s.threads)
	if n := len(took); n > 0 {
		slices.Sort(took)
		at := func(q float64) time.Duration { return took[int(q*float64(n-1))].Round(100 * time.Microsecond) }
		t.text += fmt.Sprintf(" %7d %9v %9v %9v", n, at(0.5), at(0.99), at(1))
	}
	t.text += "\n"
}

func (t *table) String() string { return t.text }
