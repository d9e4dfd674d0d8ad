package login

import (
	"context"
	"sync/atomic"
	"time"
)

// maxPace is how long a slow backend may make all refusals.
const maxPace = 10 * time.Second

// pace makes wrong passwords and unknown names take equally long. Where only a
// backend can check a password, it sets the pace: a name that no backend was
// asked about is answered as late as the last one that was.
type pace struct{ backend atomic.Int64 } // nanoseconds

// wait returns when a refusal is due: at least delay after the password was shown.
func (p *pace) wait(ctx context.Context, began time.Time, delay time.Duration, asked bool) {
	if asked {
		p.backend.Store(int64(min(time.Since(began), maxPace)))
	}
	due := began.Add(max(delay, time.Duration(p.backend.Load())))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
