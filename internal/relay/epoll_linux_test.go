package relay_test

import (
	"crypto/tls"
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
	relaytest.Run(t, tls.VersionTLS13, func() relay.Engine { return e.Hurry() })
}
