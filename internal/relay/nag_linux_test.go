package relay_test

import (
	"testing"

	"usher/internal/relay"
	"usher/internal/relay/relaytest"
)

// A change of keys is dear: who asks for many in one breath gets one (RFC 8446 §4.6.3), and
// is read a little at a time from then on, so that others have their turn.
func TestAClientThatAsksForKeysHoldsNobodyUp(t *testing.T) {
	e, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	const times, answer, goodbye = 14, 5 + 5 + 1 + 16, 5 + 2 + 1 + 16 // records
	var id uint64
	heard := relaytest.Nag(t, e, times, func(of uint64) {
		if id = of; !e.Dear(id) {
			t.Error("it is read as much as others")
		}
	})
	if answers := (heard - goodbye) / answer; answers < 1 || answers > times/2 { // one, if it came in one breath
		t.Errorf("it hears %d answers in %d bytes", answers, heard)
	}
}
