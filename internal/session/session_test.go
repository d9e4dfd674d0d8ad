package session_test

import (
	"regexp"
	"sync"
	"testing"
	"time"

	"usher/internal/session"
)

func TestIDsAreUnlikeEachOther(t *testing.T) {
	form := regexp.MustCompile(`^[0-9A-V]{13}$`)
	seen := map[string]bool{}
	for range 10_000 {
		id := session.NewID().String()
		if seen[id] || !form.MatchString(id) {
			t.Fatalf("the ID %q is not new, or no 13 letters and digits", id)
		}
		seen[id] = true
	}
	if a, b := session.ID(1).String(), session.ID(2).String(); a == b {
		t.Errorf("1 and 2 are both %q", a)
	}
}

func TestTheListHasWhoIsThere(t *testing.T) {
	var r session.Registry
	now := time.Now()
	if r.Len() != 0 || len(r.List()) != 0 {
		t.Error("an empty registry has sessions")
	}
	for i, name := range []string{"third", "first", "second"} {
		age := []time.Duration{1, 3, 2}[i]
		r.Add(&session.Session{ID: session.ID(i), Account: name, Since: now.Add(-age * time.Minute)})
	}
	r.Remove(session.ID(2)) // "second"
	r.Remove(session.ID(9)) // nobody
	list := r.List()
	if len(list) != 2 || r.Len() != 2 || list[0].Account != "first" || list[1].Account != "third" {
		t.Errorf("the list is %v, want first and third, the oldest first", list)
	}
}

func TestManyMayComeAndGoAtOnce(t *testing.T) {
	var r session.Registry
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r.Add(&session.Session{ID: session.ID(i)})
			_ = r.List()
			if i%2 == 0 {
				r.Remove(session.ID(i))
			}
		})
	}
	wg.Wait()
	if r.Len() != 25 {
		t.Errorf("%d are left, want 25", r.Len())
	}
}
