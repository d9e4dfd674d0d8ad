//go:build linux

package lookup

import (
	"context"
	"testing"

	"usher/internal/account"
	"usher/internal/password"
)

// A said is a source that is no work: it has said everything before.
type said []account.Fields

func (s said) Ask(_ context.Context, q account.Query) (account.Record, error) {
	return account.Record{Fields: s[numberOf(q.Name)]}, nil
}

func everybody(n int) (s said, queries []account.Query) {
	for i := range n {
		s = append(s, account.Fields{"password": hash, "host": hostOf(i), "destuser": "u"})
		queries = append(queries, query(i))
	}
	return s, queries
}

// memory measures look-ups for which nobody is asked.
func (m *measurement) memory(t *testing.T) {
	s, queries := everybody(m.plan.people())
	d := far(t, s)
	look := func(d account.Directory) func(int) {
		return func(i int) {
			if _, err := d.Lookup(t.Context(), queries[i%len(queries)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range queries {
		look(d)(i)
	}
	hit := costOf(m.plan.rounds, m.plan.calls, look(d))
	m.page.reach("a look-up that is remembered, ns", hit.nanos, 1000)
	m.page.reach("allocations of it, beside what is looked up", hit.allocs, 0)

	made := costOf(m.plan.rounds, m.plan.calls, look(&account.Reader{Name: "bench", Source: s}))
	m.page.feel("an account made of what a source has said, ns", made.nanos)
	m.page.feel("allocations of it", made.allocs)
}

// passwords measures what a login with a right password costs, the first time and when
// that is remembered.
func (m *measurement) passwords(t *testing.T) {
	const right = "correct horse battery staple"
	for _, scheme := range m.plan.schemes {
		hash, err := password.Make(scheme, right)
		if err != nil {
			t.Fatal(err)
		}
		r := &account.Reader{Name: "bench", Source: said{{"password": hash}}}
		a, err := r.Lookup(t.Context(), query(0))
		if err != nil {
			t.Fatal(err)
		}
		check := costOf(m.plan.rounds, 1, func(int) {
			if err := a.Proof.Check(t.Context(), right); err != nil {
				t.Fatal(err)
			}
		})
		a.Memory.Keep(a.Proof, right)
		again := costOf(m.plan.rounds, m.plan.calls, func(int) {
			if !a.Memory.Knows(a.Proof, right, false) {
				t.Fatal("a password that was right is not remembered")
			}
		})
		m.page.feel("a right password, "+scheme+", µs", check.nanos/1e3)
		m.page.feel("the same, remembered, µs", again.nanos/1e3)
	}
}
