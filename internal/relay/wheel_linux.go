package relay

import (
	"math"
	"math/bits"
	"time"
)

const (
	tick   = int64(1) << 26 // 67 ms
	spokes = 64             // of a rim; one bit each
	rims   = 3              // of 4 seconds, 5 minutes, 5 hours
	ripe   = rims * spokes  // the list of those whose time has come
	none   = ripe + 1       // a pair in no list
	never  = int64(math.MaxInt64)
)

// A wheel files pairs by when they are to be looked at: the soonest on a rim of fine
// steps, later ones on coarser rims. A pair whose step has come is filed again if its
// time has not, on a finer rim; that is the same as for a pair of which bytes have
// moved in the meantime, so that a byte that moves touches no wheel.
type wheel struct {
	at     int64 // the tick up to which all is ripe
	filled [rims]uint64
	lists  [ripe + 1]*pair
}

// file has a pair looked at when a time has come, and not before.
func (w *wheel) file(pr *pair, due int64) {
	w.remove(pr)
	due = max((due+tick-1)/tick, w.at+1)
	for rim := range rims {
		step, at := due>>(6*rim), w.at>>(6*rim)
		if rim == rims-1 {
			step = min(step, at+spokes-1) // it is looked at early, and filed again
		}
		if step-at < spokes {
			w.add(pr, rim*spokes+int(step%spokes))
			return
		}
	}
}

func (w *wheel) add(pr *pair, list int) {
	pr.list, pr.prev, pr.next = uint8(list), nil, w.lists[list]
	if pr.next != nil {
		pr.next.prev = pr
	}
	w.lists[list] = pr
	if list < ripe {
		w.filled[list/spokes] |= 1 << (list % spokes)
	}
}

// remove takes a pair out, if it is in.
func (w *wheel) remove(pr *pair) {
	if pr.list == none {
		return
	}
	if pr.next != nil {
		pr.next.prev = pr.prev
	}
	if pr.prev != nil {
		pr.prev.next = pr.next
	} else {
		w.lists[pr.list] = pr.next
	}
	if list := int(pr.list); list < ripe && w.lists[list] == nil {
		w.filled[list/spokes] &^= 1 << (list % spokes)
	}
	pr.prev, pr.next, pr.list = nil, nil, none
}

// turn makes ripe what was filed for times up to now.
func (w *wheel) turn(now int64) {
	to := now / tick
	for rim := range rims {
		first, last := w.at>>(6*rim)+1, to>>(6*rim)
		for over := w.filled[rim] & span(first, last); over != 0; over &= over - 1 {
			list := rim*spokes + bits.TrailingZeros64(over)
			for pr := w.lists[list]; pr != nil; pr = w.lists[list] {
				w.remove(pr)
				w.add(pr, ripe)
			}
		}
	}
	w.at = to
}

// span has the bits of the steps from first to last.
func span(first, last int64) uint64 {
	switch n := last - first + 1; {
	case n <= 0:
		return 0
	case n >= spokes:
		return math.MaxUint64
	default:
		return bits.RotateLeft64(1<<n-1, int(first%spokes))
	}
}

// pop takes one ripe pair out, or returns nil.
func (w *wheel) pop() *pair {
	pr := w.lists[ripe]
	if pr != nil {
		w.remove(pr)
	}
	return pr
}

// next is when something will be ripe, or never.
func (w *wheel) next() int64 {
	soonest := never
	for rim, filled := range w.filled {
		if filled == 0 {
			continue
		}
		step := w.at>>(6*rim) + 1
		step += int64(bits.TrailingZeros64(bits.RotateLeft64(filled, -int(step%spokes))))
		soonest = min(soonest, step<<(6*rim)*tick)
	}
	return soonest
}

// A clock counts nanoseconds from its beginning. No change of the system's time
// touches it.
type clock struct {
	began time.Time
	now   int64 // when the loop looked last: good enough for all that it does until it looks again
}

func (c *clock) look() { c.now = int64(time.Since(c.began)) }

// count is when a time is or was.
func (c *clock) count(t time.Time) int64 { return c.now - int64(time.Since(t)) }

// time is what stood on the wall.
func (c *clock) time(at int64) time.Time { return time.Now().Add(time.Duration(at - c.now)) }
