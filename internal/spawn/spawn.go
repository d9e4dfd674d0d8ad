// Package spawn starts mail programs as the owners of mailboxes. That needs root, and
// who talks to strangers must not be root: a small process of its own, the helper,
// keeps the privilege. Its first message, the Policy, seals what it may do; afterwards
// it hears Requests, which name a program of the Policy, and a user.
package spawn

import (
	"context"
	"net"
	"os"
)

// A Policy is all that a helper may do. It cannot change once the helper has it.
type Policy struct {
	Caller   uint32             // the uid that may ask
	Programs map[string]Program // by name
	MinUID   uint32             // nobody below is served; uid 0 never is
	MinGID   uint32             // nor is a group below; gid 0 never is
	Homes    []string           // folders beneath which homes must be; none: homes must exist, and are not made
	Create   *Create            // how a home is made that is missing; nil: it is an error
}

// A Program is what a name stands for.
type Program struct {
	Path string   // absolute
	Args []string // the first is its name; a Request's come behind them
	Env  []string // "NAME=value"; there is no other environment but this and the Request's
}

// Create says how a home is made at the first login.
type Create struct {
	Mode     os.FileMode // of the home; 0: 0700
	Skeleton string      // a folder whose content is copied into it; "": none
	Maildir  string      // a maildir that is made in it, "Maildir"; "": none
	Hook     []string    // a command that is run as the user in the new home; none: nothing
}

// A Request asks for one program, started as one user.
type Request struct {
	Program  string
	UID, GID uint32
	User     string // for its groups, if it is a user of the system; "": it has none but GID
	Home     string // absolute; its working directory
	Args     []string
	Env      []string
	ID       string // of the session, for Events
}

// A Refusal is the helper's no: the Policy forbids it, or the home is not as it should
// be. Trying again will not help. Its text says what to do.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// An Event is what a program that was started has to say: a line on its standard
// error, or how it ended.
type Event struct {
	ID      string // of its Request
	Program string
	PID     int
	Line    string // on standard error; "" if it is the end
	Status  string // at the end: "exit status 1", "signal: killed"; "": as it should be
}

// A Helper is one end of a conversation with the privileged process. It is safe for
// concurrent use, by several processes too.
type Helper interface {
	// Start has a program started and returns the other end of its standard input and
	// output. An error is a Refusal if it could not be otherwise, else an outage.
	Start(ctx context.Context, r Request) (c net.Conn, pid int, err error)
}
