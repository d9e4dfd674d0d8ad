// Package doorway lets clients into a running usher that others have accepted for it: a
// process that inetd, Postfix or ssh has started finds its door, a unix socket beside
// the one for commands, and says what the client wants. Limits, penalties, what is
// remembered and who is logged in are then those of the one usher.
//
// Anybody on this machine may come to the door, and gains by it no more than by a
// connection to a port of 127.0.0.1. Only root and usher's own user are believed more:
// they may hand over a connection that came from elsewhere, with the addresses that it
// has, and may say that the client need not show who it is. Others are sent to a port of
// 127.0.0.1 (aside.go): a descriptor that a stranger shares with us, or sends us, could
// be made to block us, or come from a network of his own making, in which he has whatever
// address he likes.
//
// Read message.go for the words between the two, door.go for usher's side, visit.go for
// the other's.
package doorway

import (
	"errors"
	"net"
	"time"
)

// Path is where the door of the usher is whose socket for commands is at admin.
func Path(admin string) string { return admin + ".door" }

// A Request is what a client wants.
type Request struct {
	Protocol string `json:"protocol"`       // "imap"
	TLS      string `json:"tls,omitempty"`  // none, starttls, implicit; "": as the configuration says
	User     string `json:"user,omitempty"` // who it is, without having shown it; "": it will show it
}

// A Visitor is a client at the door.
type Visitor struct {
	Request
	Conn  net.Conn // of the client
	Given bool     // Conn was handed over, and has the client's own addresses; else it is the one to the door
	UID   uint32   // of who has brought it
	Own   bool     // that is root, or usher's own user
}

const (
	askTime   = 5 * time.Second // for a request, once its connection is open, and for the answer to be taken
	answering = 10 * time.Second

	mostTries = 200 // to find room before the door
	tryAgain  = 10 * time.Millisecond
)

// ErrAbsent says that there is no usher behind the door.
var ErrAbsent = errors.New("no usher is running")

// A Refusal is the word of an usher that does not let the client in.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return "the running usher refuses: " + r.Text }
