// Package relay copies bytes for logged-in pairs of connections and knows
// nothing of what they mean.
//
// Invariants, for every Engine:
//   - An engine owns both connections from Start on, until Release gives them back.
//     Only it closes them.
//   - done runs exactly once, after both are closed; after Release not at all.
//   - A leg is read only while what was read from it before has been written to
//     the other: a slow reader slows its writer down, and memory stays bounded.
//   - EOF on one side becomes a half-close of the other; what was read before it
//     is delivered first. The other hears TLS's goodbye unless it was missing itself.
//   - A client is told goodbye only where all that its server has said ends with a
//     whole line and has been sent.
//
// A plain pair at rest in Epoll is about 200 bytes, an entry in a map and what the
// caller's done holds. A leg under TLS 1.3 has its keys and numbers besides (package
// record), and moves to another process as a plain one does. A leg under TLS 1.2 keeps
// more, in crypto/tls, and nobody can take it back: the keys and the state of both
// directions and the room of the handshake's messages (together 5 KB), and the room of
// the longest record that has come, as a record is decrypted where it was read: 18 KB
// more once a peer has said 16 KB in one breath.
package relay

import (
	"crypto/tls"
	"net"
	"time"

	"usher/internal/relay/record"
)

// A Leg is one side of a logged-in session.
type Leg struct {
	Conn    net.Conn     // the socket
	TLS     *tls.Conn    // over Conn, if the leg is encrypted and was never relayed: by Server or Client
	Keys    *record.Keys // of TLS over Conn, if the leg is encrypted and was relayed before
	Ahead   []byte       // read from Conn, and not decrypted yet; with Keys only
	Pending []byte       // read from this leg before Start, due to the other
}

// plain tells whether the leg is not encrypted.
func (l Leg) plain() bool { return l.TLS == nil && l.Keys == nil }

// A Pair is a logged-in session: what comes from one leg goes to the other.
type Pair struct {
	ID             uint64
	Client, Server Leg
	Idle           time.Duration // ends the pair when no byte moved for so long; 0: never
	Farewell       string        // said to the client when the engine itself ends the pair at the end of a line; "": nothing
	Note           []byte        // what an engine in another process gives back to whoever comes after us; others forget it

	// What was before Start, if another engine or process has relayed the pair until
	// then. Zero: nothing.
	Before  Stats
	MidLine bool // the last thing that the client was sent did not end a line
}

// Wipe overwrites the keys of a pair that has gone elsewhere.
func (p *Pair) Wipe() {
	for _, l := range []Leg{p.Client, p.Server} {
		if l.Keys != nil {
			l.Keys.Wipe()
		}
	}
}

// Ending says why a pair ended, as it stands in the log.
type Ending string

// The endings.
const (
	ClientLeft    Ending = "client left"
	ClientCut     Ending = "client cut off" // under TLS, whose goodbye has not come: anybody on the way could do that
	ClientFailed  Ending = "client connection failed"
	BackendClosed Ending = "backend closed"
	BackendCut    Ending = "backend cut off" // as ClientCut
	BackendFailed Ending = "backend connection failed"
	Idled         Ending = "idle"
	Kicked        Ending = "kicked"
	Expired       Ending = "token expired" // what proved the client does not hold any more
	Shutdown      Ending = "shutdown"
	Upgraded      Ending = "upgrade"             // the process was replaced, and its time was over
	Moved         Ending = "moved"               // it goes on in another process
	Lost          Ending = "relay process ended" // with all sessions that it had
)

// Stats is what is known of a pair at its end.
type Stats struct {
	ID                     uint64    `json:"-"` // of the pair
	FromClient, FromServer uint64    // bytes
	Last                   time.Time // when a byte moved; if none did, when it began
	Ended                  Ending
}

// An Engine relays pairs. It is safe for concurrent use.
type Engine interface {
	// Start takes both legs over and returns at once. done is called once, when
	// the pair has ended. One func does for all pairs: it hears which one it was.
	Start(p Pair, done func(Stats))
	// Kick ends a pair for the given reason. It returns false if there is none.
	Kick(id uint64, why Ending) bool
	// Release gives a pair back that is at rest: all that was read is written, and
	// neither side has left. Start takes it again, in this engine or in another process.
	// done is what Start got, and has not been called. ok is false if there is no such
	// pair, if it is not at rest, or if crypto/tls holds a leg of it; then nothing has
	// changed.
	Release(id uint64) (p Pair, done func(Stats), ok bool)
}
