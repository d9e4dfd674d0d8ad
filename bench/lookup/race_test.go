//go:build linux

package lookup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/account"
)

// flight is how many look-ups are on their way at a time, and how many connections
// there are for them.
const flight = 8

// A contest is a server, and what asks it.
type contest struct {
	name   string
	driver account.Driver
	// start starts the server with n accounts, opens the bare loop's connections to it,
	// and says how usher finds it.
	start func(t *testing.T, n int) (bare ask, keys, version string)
}

// An ask asks for the host of a name.
type ask func(ctx context.Context, name string) (host string, err error)

// A rival is one way to ask.
type rival struct {
	name string
	ask  ask
}

// A lap is what a rival has done.
type lap struct {
	rate float64 // look-ups a second
	cpu  float64 // µs of this process for each
}

// race lets the bare loop, the source alone and a whole look-up ask the same server in
// turn, in each round for the same accounts, which are others than in the rounds
// before. A whole look-up is one of a login whose account is not remembered: it finds
// that out, asks, makes an account of the answer and remembers it.
func (m *measurement) race(t *testing.T, c contest) result {
	bare, keys, version := c.start(t, m.plan.people())
	s, err := open(t.Context(), c.driver, t.TempDir(), fmt.Sprintf("%s\npool = %d\n", keys, flight))
	if err != nil {
		t.Fatal(err)
	}
	d := far(t, s)
	rivals := []rival{
		{"bare", bare},
		{"source", func(ctx context.Context, name string) (string, error) {
			rec, err := s.Ask(ctx, account.Query{Name: name, Protocol: "imap"})
			return rec.Fields["host"], err
		}},
		{"usher", func(ctx context.Context, name string) (string, error) {
			a, err := d.Lookup(ctx, account.Query{Name: name, Protocol: "imap"})
			if err != nil {
				return "", err
			}
			return a.Place.Hosts[0], nil
		}},
	}
	r := result{contest: c.name, version: version, laps: map[string][]lap{}}
	who := rand.Perm(m.plan.people())
	for round := range m.plan.rounds + 1 {
		for i := range rivals {
			one := rivals[(round+i)%len(rivals)] // nobody is always the first
			l := one.run(t, who[round*m.plan.asked:][:m.plan.asked])
			if round > 0 { // the first is for connections
				r.laps[one.name] = append(r.laps[one.name], l)
			}
		}
	}
	return r
}

// run asks for some accounts.
func (r rival) run(t *testing.T, who []int) lap {
	runtime.GC() // what others have left is not its business
	var next atomic.Int64
	var all sync.WaitGroup
	cpu, began := used(), time.Now()
	for range flight {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(who)); i = next.Add(1) - 1 {
				host, err := r.ask(t.Context(), nameOf(who[i]))
				if err != nil || host != hostOf(who[i]) {
					t.Errorf("%s, %s: %q, %v", r.name, nameOf(who[i]), host, err)
					return
				}
			}
		})
	}
	all.Wait()
	n := float64(len(who))
	return lap{n / time.Since(began).Seconds(), float64((used() - cpu).Nanoseconds()) / 1e3 / n}
}

// A result is what the laps of a contest have brought.
type result struct {
	contest, version string
	laps             map[string][]lap
}

func rate(l lap) float64 { return l.rate }
func cpu(l lap) float64  { return l.cpu }

func (r result) median(name string, of func(lap) float64) float64 {
	var values []float64
	for _, l := range r.laps[name] {
		values = append(values, of(l))
	}
	return median(values)
}

// part is what usher brings of what the bare loop does in the same round.
func (r result) part(of func(lap) float64) float64 {
	var values []float64
	for i, l := range r.laps["usher"] {
		values = append(values, of(l)/of(r.laps["bare"][i]))
	}
	return median(values)
}
