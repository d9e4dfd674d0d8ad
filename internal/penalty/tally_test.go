package penalty

import (
	"testing"
	"time"
	"unsafe"
)

// setBack is what time.Now returns when somebody has set the machine's clock back by
// some seconds: in a time of package time, with both clocks, seconds begin at bit 30.
func setBack(t time.Time, seconds uint64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) -= seconds << 30
	return t
}

func TestAClockThatIsSetBackMakesNobodyAnAttacker(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var guesses tally
	guesses.add(now, soothe, mostGrudge)
	later := setBack(now.Add(time.Second), 24*60*60)
	if later.Sub(now) != time.Second || !later.Round(0).Before(now.Round(0)) {
		t.Skip("times are made differently here")
	}
	if n := guesses.at(later, soothe); n != 1 {
		t.Errorf("one guess counts as %d", n)
	}
}
