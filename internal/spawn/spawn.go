// Package spawn starts mail programs as the owners of mailboxes. That needs root, and
// who talks to strangers must not be root: a small process of its own, the helper,
// keeps the privilege. Its first message, the Policy, seals what it may do; afterwards
// it hears Requests, which name a program of the Policy, and a user.
//
// Read client_linux.go for the side that asks. The helper is two processes of the same
// program: keeper_linux.go only starts the other one again if it dies; worker_linux.go
// hears the requests, policy.go says which are permitted, home_linux.go and
// make_linux.go find and make the user's home, start_linux.go, errand_linux.go and fork_linux.go start the program.
// privileges_linux.go says what the helper keeps of root's power. doc/security.md has
// the threat model, and names the test that pins each promise.
package spawn

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// A Policy is all that a helper may do. It cannot change once the helper has it.
type Policy struct {
	Caller   uint32             // the uid that may ask; nothing is started as it
	Group    uint32             // its gid, with which nothing is started either: it may read usher's keys
	Programs map[string]Program // by name
	MinUID   uint32             // nobody below is served; uid 0 never is
	MinGID   uint32             // nor does anybody have a group below; gid 0 nobody has
	Homes    []string           // folders beneath which homes must be; none: homes must exist, and are not made
	Create   *Create            // how a home is made that is missing; nil: it is an error
	Limits   Limits
	Setuid   bool // programs may gain privileges by others that are setuid or setgid, as Postfix's sendmail is
}

// A Program is what a name stands for.
type Program struct {
	Path string   // absolute
	Args []string // the first is its name; a Request's come behind them
	Env  []string // "NAME=value"; there is no other environment but this and the Request's
	More int      // how many arguments a Request may add; none may begin with "-"
	// Begins says how each of those begins; behind its end they may be anything. Without
	// it whoever asks could finish an option of Args as he likes: Dovecot's -o sets all.
	Begins []string
	Vars   []string // the variables that a Request may set, "USER"; "MAIL_*" are all that begin so. It replaces those of Env
}

// Create says how a home is made at the first login.
type Create struct {
	Mode     os.FileMode // of the home; 0: 0700
	Skeleton string      // a folder whose content is copied into it; "": none
	Maildir  string      // a maildir that is made in it, "Maildir"; "": none
	// Hook is a command that is run as the user in the new home, before the home gets
	// its name: it must speak of ".", not of $HOME. None: nothing. If it fails there is
	// no home.
	Hook []string
}

// Limits bound what programs may take. Zero means what is said in each line.
type Limits struct {
	Files     uint64        // descriptors of one program, RLIMIT_NOFILE; 0: 1024
	Processes uint64        // processes of one uid, RLIMIT_NPROC; 0: as usher
	Memory    uint64        // bytes of data of one program, RLIMIT_DATA, at least MinMemory; 0: as usher
	PerUser   int           // programs that run as one uid at a time; 0: any number
	Total     int           // programs that run at a time; 0: any number
	Linger    time.Duration // how long a program may go on without its client; 0: 5 minutes. Then SIGTERM, and SIGKILL 10 seconds later
	Starting  int           // requests that are worked on at a time; 0: 64
}

// MinMemory is the least that Limits.Memory can be: the helper lives under it, too.
const MinMemory = 256 << 20

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

// ErrFull is in errors of Start that say that as many programs run as may.
var ErrFull = errors.New("too many programs")

// An Event is what a program that was started has to say: a line on its standard
// error, or how it ended. Program "" is the helper itself.
type Event struct {
	ID      string // of its Request
	Program string
	PID     int
	Line    string // on standard error; "" if it is the end
	Ended   bool   // it has ended: this is its last event
	Status  string // at the end: "exit status 1", "signal: killed"; "": as it should be
	Lost    int    `json:",omitempty"` // events of the helper that nobody took, before this one
}

// A Helper is one end of a conversation with the privileged process. It is safe for
// concurrent use, by several processes too.
type Helper interface {
	// Start has a program started and returns the other end of its standard input and
	// output. An error is a Refusal if it could not be otherwise, else an outage; an
	// outage that is ErrFull is a limit.
	Start(ctx context.Context, r Request) (c net.Conn, pid int, err error)
}
