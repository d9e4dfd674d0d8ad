package relay_test

import (
	"testing"

	"usher/internal/relay"
	"usher/internal/relay/relaytest"
)

func TestEpollKeepsItsPromises(t *testing.T) {
	e, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	relaytest.Run(t, func() relay.Engine { return e.Hurry() })
}
