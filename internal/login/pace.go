package login

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// maxPace is how long a slow backend may make all refusals.
const maxPace = 10 * time.Second

// pace makes wrong passwords and unknown names take equally long. Where only a
// backend can check a password, it sets the pace: a name that no backend was
// asked about is answered as late as the last one that was.
type pace struct {
	backend atomic.Int64 // nanoseconds
	nodelay atomic.Bool  // the last account that was refused need not wait: nor need unknown names
}

// delay is how long a refusal takes at least. Sources may say that nobody need wait
// at their accounts; what the last one said holds for unknown names, which else could
// be told apart.
func (d *Desk) delay(a *Admission, err error) time.Duration {
	var known interface{ NoDelay() (nodelay, known bool) }
	if a.who.Account != nil {
		d.pace.nodelay.Store(a.who.Account.Access.NoDelay)
	} else if errors.As(err, &known) {
		if nodelay, ok := known.NoDelay(); ok {
			d.pace.nodelay.Store(nodelay)
		}
	}
	if d.pace.nodelay.Load() {
		return 0
	}
	return d.FailureDelay
}

// wait returns when a refusal is due: at least delay after the password was shown.
func (p *pace) wait(ctx context.Context, began time.Time, delay time.Duration, asked bool) {
	if asked {
		p.backend.Store(int64(min(time.Since(began), maxPace)))
	}
	sleep(ctx, time.Until(began.Add(spread(max(delay, time.Duration(p.backend.Load()))))))
}

// spread makes a delay longer by some chance. Timers wake in steps of a millisecond: at
// the edge of one, a work of some microseconds less could be seen from outside.
func spread(delay time.Duration) time.Duration {
	if delay <= 0 {
		return 0
	}
	return delay + rand.N(max(delay/100, 2*time.Millisecond))
}

// slept waits, unless ctx ends, and returns how long that was.
func slept(ctx context.Context, d time.Duration) time.Duration {
	began := time.Now()
	sleep(ctx, d)
	return time.Since(began)
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
