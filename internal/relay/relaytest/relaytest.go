// Package relaytest is what every relay.Engine must keep, as tests: real
// sockets, every mix of plain and encrypted legs, and peers that misbehave.
//
// Read Run first. A scene is one pair with its two peers; pair.go makes it.
package relaytest

import (
	"crypto/tls"
	"testing"

	"usher/internal/relay"
)

// A way is how the legs of a pair are encrypted: a version of TLS, or 0.
type way struct {
	name           string
	client, server uint16
}

var (
	ways = []way{
		{"plain-plain", 0, 0},
		{"tls12-plain", tls.VersionTLS12, 0},
		{"plain-tls12", 0, tls.VersionTLS12},
		{"tls12-tls12", tls.VersionTLS12, tls.VersionTLS12},
		{"tls13-plain", tls.VersionTLS13, 0},
		{"plain-tls13", 0, tls.VersionTLS13},
		{"tls13-tls13", tls.VersionTLS13, tls.VersionTLS13},
	}
	plain     = ways[0]
	encrypted = ways[6]
)

// A promise is one thing that users of an Engine rely on.
type promise struct {
	name string
	test func(t *testing.T, e relay.Engine, w way)
	ways []way
}

var promises = []promise{
	{"all bytes arrive, both ways, in order", allBytesArrive, ways},
	{"what was pending arrives first", pendingFirst, ways},
	{"pending bytes are not written over", pendingIsKept, ways},
	{"a client that is done talking still hears the answer", clientHalfClose, ways},
	{"a backend that is done talking still hears the client", serverHalfClose, ways},
	{"the last words of a backend arrive", lastWords, ways},
	{"the last words of a backend are heard however slowly", slowListener, []way{plain, encrypted}},
	{"a client that vanishes without goodbye has left", noCloseNotify, ways},
	{"a reset client ends the pair once", clientReset, ways},
	{"a reset backend ends the pair once", serverReset, ways},
	{"a slow reader slows the writer down", backPressure, ways},
	{"a silent pair ends", idleEnds, ways},
	{"a pair that talks does not end", idleIsPostponed, []way{plain, encrypted}},
	{"a kicked client hears why between lines", kickFarewell, ways},
	{"a kicked client hears nothing within a line", kickMidLine, ways},
	{"a kicked client that does not read is let go", kickDeaf, []way{plain, encrypted}},
	{"a kick without a farewell is silent", kickSilent, []way{plain, encrypted}},
	{"a kick tells whether it hit", kickUnknown, []way{plain}},
	{"several kicks end a pair once", kickTwice, []way{plain, encrypted}},
	{"a kick in full flow ends a pair", kickInFlow, []way{plain, encrypted}},
	{"pairs do not mix", pairsDoNotMix, []way{plain, encrypted}},
	{"keys may be updated, both ways", keyUpdates, ways[4:]},
	{"a client that asks for keys and never listens is slowed down", askNeverListen, ways[4:5]},
	{"busy pairs do not starve others", busyNeighbours, []way{plain, encrypted}},
	{"a pair at rest is given back, and goes on", releaseGoesOn, []way{plain}},
	{"a pair given back within a line stays within it", releaseWithinLine, []way{plain}},
	{"a pair given back has been silent since its last byte", releaseKeepsTime, []way{plain}},
	{"a pair that moves while it talks loses nothing", releaseInFlow, []way{plain}},
	{"nobody gets a pair that is not there", releaseUnknown, []way{plain}},
	{"an encrypted pair is not given back", encryptedStays, ways[1:]},
	{"a half-closed pair is not given back", halfClosedStays, []way{plain}},
	{"a pair that waits for a slow reader is not given back", stuckStays, []way{plain}},
	{"when it is done both sockets are closed", doneMeansClosed, []way{plain, encrypted}},
}

// Run holds an engine against all that package relay promises.
func Run(t *testing.T, newEngine func() relay.Engine) {
	for _, w := range []way{plain, encrypted} { // alone: it counts what is open
		t.Run("ten thousand pairs leave nothing/"+w.name, func(t *testing.T) { leavesNothing(t, newEngine(), w) })
	}
	for _, p := range promises {
		for _, w := range p.ways {
			t.Run(p.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				p.test(t, newEngine(), w)
			})
		}
	}
}
