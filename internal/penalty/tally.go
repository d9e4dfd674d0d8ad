package penalty

import (
	"math"
	"time"
)

// A tally counts what is forgotten, one after the other, each after the same time.
type tally struct {
	count float32
	since int64 // nanoseconds since epoch
}

// epoch is when the process began, by a clock that nobody sets: one that is set back must
// not turn few guesses into many.
var epoch = time.Now()

// at is how many count now, also those that are partly forgotten.
func (t tally) at(now time.Time, forget time.Duration) int {
	return int(math.Ceil(t.left(now, forget)))
}

func (t tally) left(now time.Time, forget time.Duration) float64 {
	if t.count == 0 {
		return 0
	}
	return max(0, float64(t.count)-float64(int64(now.Sub(epoch))-t.since)/float64(forget))
}

// add counts one more, up to a bound: what is beyond would only take longer to forget.
func (t *tally) add(now time.Time, forget time.Duration, most int) {
	t.count, t.since = float32(min(t.left(now, forget)+1, float64(most))), int64(now.Sub(epoch))
}
