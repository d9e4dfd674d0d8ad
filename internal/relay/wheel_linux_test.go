package relay

import (
	"math/rand/v2"
	"testing"
	"time"
)

// turning lets time pass as the loop does: from one moment at which something may be
// ripe to the next. It returns how often pairs were looked at.
func turning(t *testing.T, w *wheel, due map[*pair]int64) (looks int) {
	t.Helper()
	for len(due) > 0 {
		now := w.next()
		if now == never {
			t.Fatalf("%d pairs are never looked at", len(due))
		}
		w.turn(now)
		for pr := w.pop(); pr != nil; pr = w.pop() {
			looks++
			if now < due[pr] {
				w.file(pr, due[pr])
				continue
			}
			if late := now - due[pr]; late > tick {
				t.Errorf("a pair is looked at %v late", time.Duration(late))
			}
			delete(due, pr)
		}
	}
	return looks
}

func TestEveryPairIsLookedAtWhenItsTimeHasCome(t *testing.T) {
	w, due := new(wheel), map[*pair]int64{}
	const pairs = 5000
	for i := range pairs {
		pr := &pair{list: none}
		due[pr] = rand.Int64N(int64(time.Second) << (i % 18)) // up to 36 hours
		w.file(pr, due[pr])
	}
	if looks := turning(t, w, due); looks > 10*pairs {
		t.Errorf("%d pairs were looked at %d times", pairs, looks)
	}
	if w.next() != never {
		t.Error("an empty wheel wakes the loop")
	}
}

func TestAPairThatIsTakenOutIsNotLookedAt(t *testing.T) {
	w, due := new(wheel), map[*pair]int64{}
	for i := range 1000 {
		pr := &pair{list: none}
		at := rand.Int64N(int64(time.Hour))
		w.file(pr, at)
		if i%2 == 0 {
			w.remove(pr)
			w.remove(pr)
		} else {
			due[pr] = at
		}
	}
	turning(t, w, due)
	if n := watched(w); n > 0 {
		t.Errorf("%d pairs are left", n)
	}
}

// BenchmarkWheel files a pair anew, as the loop does now and then for each.
func BenchmarkWheel(b *testing.B) {
	b.ReportAllocs()
	w, pr := new(wheel), &pair{list: none}
	for i := int64(0); b.Loop(); i++ {
		w.file(pr, i*tick*1000)
	}
}
