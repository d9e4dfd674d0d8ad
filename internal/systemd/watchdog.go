package systemd

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog is within what time systemd wants to hear that we are alive, again and
// again; 0 if it does not, or not from this process.
func (n *Notifier) Watchdog() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.Log.Warn("systemd's watchdog is off: check WATCHDOG_USEC and WATCHDOG_PID in the environment", "err", err)
	}
	return every
}

// Watch tells systemd that we are alive, twice as often as it wants to hear it,
// while alive answers true. It returns when ctx ends, at once where there is no
// watchdog. An alive that hangs is not asked a second time, and nothing is said
// until it answers: whether that is too late is systemd's to judge.
func (n *Notifier) Watch(ctx context.Context, alive func() bool) {
	every := n.Watchdog() / 2
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	answers := make(chan bool, 1) // an answer after the end waits for nobody
	ask := func() { answers <- alive() }
	go ask()
	for asking := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !asking {
				asking = true
				go ask()
			}
		case ok := <-answers:
			asking = false
			if ok {
				n.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}
