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
	only func(Moves, way) bool // of the ways; nil: all
}

// Moves is the version of TLS whose pairs an engine gives back when they are at rest,
// besides those that are plain; 0: none.
type Moves uint16

// gives are the ways of pairs that move, keeps those of the others.
func gives(m Moves, w way) bool {
	return (w.client == 0 || w.client == uint16(m)) && (w.server == 0 || w.server == uint16(m))
}
func keeps(m Moves, w way) bool { return !gives(m, w) }

var promises = []promise{
	{"all bytes arrive, both ways, in order", allBytesArrive, ways, nil},
	{"what was pending arrives first", pendingFirst, ways, nil},
	{"pending bytes are not written over", pendingIsKept, ways, nil},
	{"a client that is done talking still hears the answer", clientHalfClose, ways, nil},
	{"a backend that is done talking still hears the client", serverHalfClose, ways, nil},
	{"the last words of a backend arrive", lastWords, ways, nil},
	{"the last words of a backend are heard however slowly", slowListener, []way{plain, encrypted}, nil},
	{"a client that vanishes without goodbye has left", noCloseNotify, ways, nil},
	{"what is cut off on its way from a server is not called whole", cutAnswer, []way{ways[2], ways[3], ways[5], ways[6]}, nil},
	{"a reset client ends the pair once", clientReset, ways, nil},
	{"a reset backend ends the pair once", serverReset, ways, nil},
	{"a slow reader slows the writer down", backPressure, ways, nil},
	{"a silent pair ends", idleEnds, ways, nil},
	{"a pair that talks does not end", idleIsPostponed, []way{plain, encrypted}, nil},
	{"a kicked client hears why between lines", kickFarewell, ways, nil},
	{"a kicked client hears nothing within a line", kickMidLine, ways, nil},
	{"a kicked client that does not read is let go", kickDeaf, []way{plain, encrypted}, nil},
	{"a kick without a farewell is silent", kickSilent, []way{plain, encrypted}, nil},
	{"a kick tells whether it hit", kickUnknown, []way{plain}, nil},
	{"several kicks end a pair once", kickTwice, []way{plain, encrypted}, nil},
	{"a kick in full flow ends a pair", kickInFlow, []way{plain, encrypted}, nil},
	{"pairs do not mix", pairsDoNotMix, []way{plain, encrypted}, nil},
	{"keys may be updated, both ways", keyUpdates, ways[4:], nil},
	{"a client that asks for keys and never listens is slowed down", askNeverListen, ways[4:5], nil},
	{"busy pairs do not starve others", busyNeighbours, []way{plain, encrypted}, nil},
	{"a pair at rest is given back, and goes on", releaseGoesOn, ways, gives},
	{"a pair given back within a line stays within it", releaseWithinLine, ways, gives},
	{"a pair given back has been silent since its last byte", releaseKeepsTime, ways, gives},
	{"a pair that moves while it talks loses nothing", releaseInFlow, ways, gives},
	{"nobody gets a pair that is not there", releaseUnknown, ways, gives},
	{"what cannot move is not given back", encryptedStays, ways, keeps},
	{"a half-closed pair is not given back", halfClosedStays, ways, gives},
	{"a pair that waits for a slow reader is not given back", stuckStays, ways, gives},
	{"when it is done both sockets are closed", doneMeansClosed, []way{plain, encrypted}, nil},
}

// Run holds an engine against all that package relay promises.
func Run(t *testing.T, moves Moves, newEngine func() relay.Engine) {
	for _, w := range []way{plain, encrypted} { // alone: it counts what is open
		t.Run("ten thousand pairs leave nothing/"+w.name, func(t *testing.T) { leavesNothing(t, newEngine(), w) })
	}
	for _, p := range promises {
		for _, w := range p.ways {
			if p.only != nil && !p.only(moves, w) {
				continue
			}
			t.Run(p.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				p.test(t, newEngine(), w)
			})
		}
	}
}
