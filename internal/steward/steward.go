// Package steward looks after sessions in a process of its own: `usher relay`, which
// holds their connections while the usher that has let them in may crash, be killed, be
// restarted or be replaced. It parses nothing that a client or a server says, reads no
// file and opens no connection: what it has, it was given.
//
// On usher's side there is Engine, one more relay.Engine: what can leave the process
// goes over a unix socket, the rest stays with the engine of the process. On the other
// side there is Steward. Read message.go for the words between them, then house.go (what
// a steward does), visit.go (how it talks to one usher), heir.go (how it is replaced) and
// inherit.go (how it begins then); for usher's side engine.go, link.go, pulse.go (whether
// it hangs), replace.go, part.go, lost.go (what becomes of the sessions of one that is gone) and
// strays.go. Why it is so stands in doc/adr/0042.
package steward

import "usher/internal/relay"

// File is the name of the socket in the state folder.
const File = "relay.sock"

// A Note is what a session's usher wants to have back with it, if it is another one then.
type Note = []byte

// An Adoption returns what is to be done when a session ends of which this process has
// not known: another one has let it in, and wrote the note.
type Adoption func(id uint64, note Note) (done func(relay.Stats))
