package limit

import (
	"net/netip"
	"time"

	"usher/internal/recent"
)

// networksKnown is of how many networks the rate is remembered.
const networksKnown = 1 << 15

// rates are how fast strangers of each network come: for each the time until which
// those who have come would have lasted, had they come at an even pace.
type rates struct {
	recent.Table[netip.Addr, time.Time]
}

// take counts one more, and returns false if there have been so many within a minute
// already; 0: no bound.
func (r *rates) take(network netip.Addr, now time.Time, most int) bool {
	if most == 0 {
		return true
	}
	r.Most = networksKnown
	last, _ := r.Get(network)
	if last.Before(now) {
		last = now
	}
	last = last.Add(time.Minute / time.Duration(most))
	if last.Sub(now) > time.Minute {
		return false
	}
	r.Put(network, last)
	return true
}

// giveBack counts one less: it was no stranger.
func (r *rates) giveBack(network netip.Addr, most int) {
	if last, ok := r.Get(network); ok && most > 0 {
		r.Put(network, last.Add(-time.Minute/time.Duration(most)))
	}
}
