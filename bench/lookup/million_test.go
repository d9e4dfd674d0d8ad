//go:build linux

package lookup

import (
	"context"
	"database/sql"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/account/embedded"
)

// readers ask files of a million accounts at a time.
const readers = 4

// A maker makes a database of n accounts in a folder, and says how usher finds it.
type maker func(t *testing.T, folder string, n int) (keys string)

// million measures look-ups of random names in a file.
func (m *measurement) million(t *testing.T, what string, create maker) {
	folder := t.TempDir()
	began := time.Now()
	keys := create(t, folder, m.plan.million)
	filled := time.Since(began)
	s, err := open(t.Context(), databases, folder, keys)
	if err != nil {
		t.Fatal(err)
	}
	r := &account.Reader{Name: "bench", Source: s} // it is near: nothing needs to be remembered
	defer r.Close()
	var half, most, cpu, idle []float64
	for range m.plan.rounds {
		who, before := sample(m.plan.million, m.plan.random), used()
		took := strangers(t, r, who)
		cpu = append(cpu, millis(used()-before)/float64(len(took)))
		half = append(half, took[len(took)/2])
		most = append(most, took[len(took)*99/100])
		took = strangers(t, busy(half[0]*float64(time.Millisecond)), who)
		idle = append(idle, took[len(took)*99/100])
	}
	m.page.reach("99 of 100 look-ups in "+what+" take at most, ms", median(most), 1)
	m.page.feel("half of the look-ups in "+what+" take at most, ms", median(half))
	m.page.feel("99 of 100 loops of that length, which look nothing up, take at most, ms", median(idle))
	m.page.feel("CPU per look-up in "+what+", ms", median(cpu))
	m.page.feel("filling "+what+", s", filled.Seconds())
}

// strangers asks for accounts and returns how long that took in ms, the shortest first.
func strangers(t *testing.T, d account.Directory, who []int) []float64 {
	took := make([]float64, len(who))
	var next atomic.Int64
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(who)); i = next.Add(1) - 1 {
				q := query(who[i])
				began := time.Now()
				a, err := d.Lookup(t.Context(), q)
				took[i] = millis(time.Since(began))
				runtime.Gosched() // as a login, which waits for its client: else it would keep the processor for 10 ms
				if err != nil || a.Place.Hosts[0] != hostOf(who[i]) {
					t.Errorf("%s: %v, %v", q.Name, a, err)
					return
				}
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

// busy is a directory that takes so long and looks nothing up: what others use of the
// machine can be seen by it.
type busy time.Duration

func (b busy) Lookup(_ context.Context, q account.Query) (*account.Account, error) {
	for began := time.Now(); time.Since(began) < time.Duration(b); {
	}
	return &account.Account{Place: account.Place{Hosts: []string{hostOf(numberOf(q.Name))}}}, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// embeddedFile is filled as by usher account import.
func embeddedFile(t *testing.T, folder string, n int) string {
	s, err := embedded.MakeStore(context.Background(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(t.Context(), rows(n), account.Refuse, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return "type = 'sql'"
}

func rows(n int) iter.Seq2[account.Row, error] {
	return func(yield func(account.Row, error) bool) {
		for i := range n {
			f := account.Fields{"user": nameOf(i), "password": hash, "host": hostOf(i)}
			if !yield(account.Row{Line: i + 1, Fields: f}, nil) {
				return
			}
		}
	}
}

func foreignFile(t *testing.T, folder string, n int) string {
	path := filepath.Join(folder, "mail.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	inserts(n, func(statement string) {
		if _, err := tx.Exec(statement); err != nil {
			t.Fatalf("%.80s: %v", statement, err)
		}
	})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return sqlBlock("sqlite", path)
}
