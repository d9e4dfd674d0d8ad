package tickets

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// look is how often it is seen whether a key is too old, or another process has
// made one.
const look = time.Hour

// Run applies the keys at once, and again whenever they have changed, until ctx
// ends. apply gives them to SetSessionTicketKeys of every tls.Config there is: a
// clone has the keys that it was cloned with.
func (k *Keys) Run(ctx context.Context, apply func([][secretSize]byte), log *slog.Logger) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for applied := [][secretSize]byte(nil); ; {
		keys, err := k.Current()
		if err != nil {
			log.Warn("session tickets", "err", err)
		}
		if !slices.Equal(keys, applied) {
			apply(keys)
			applied = keys
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
