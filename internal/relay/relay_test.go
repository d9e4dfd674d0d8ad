package relay_test

import (
	"testing"

	"go.uber.org/goleak"

	"usher/internal/relay"
	"usher/internal/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGoroutinesKeepTheirPromises(t *testing.T) {
	relaytest.Run(t, 0, func() relay.Engine { return relay.NewGoroutines().Hurry() })
}
