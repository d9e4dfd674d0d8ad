// Package admin is how commands talk to a running usher: HTTP with JSON over a
// unix socket that only its owner and root may open.
//
// One usher may be several processes: one that was replaced by an upgrade lives
// on while it holds sessions that cannot move. Each has a socket of its own,
// PATH.PID; PATH itself is a hard link to the newest one's. Whoever answers there
// asks the others, so the answer is always about all of them.
//
// Daemon, here, is what can be asked. Read api.go next, then socket.go for how
// processes share the path.
package admin

import (
	"context"
	"time"
)

// A Daemon is one process of a running usher, and what it can be asked. Its
// methods are called by several goroutines at once.
type Daemon interface {
	// Process describes this process.
	Process() Process
	// Sessions are those of this process that are selected.
	Sessions(Selector) []Session
	// Kick ends the sessions of this process that are selected, and returns how
	// many there were.
	Kick(Selector) int
	// Penalties is what this process holds against anybody, the most guesses first.
	Penalties() []Penalty
	// Forgive forgets guesses, and returns against how many networks and names they
	// were held. The error says what is no network.
	Forgive(Pardon) (int, error)
	// Explain says what would become of a login.
	Explain(context.Context, Riddle) (Explanation, error)
	// Trace begins to write down the conversations of somebody. The error says what is
	// wrong with the question, or why it cannot.
	Trace(w Watch, length time.Duration) (Trace, error)
	// Traces are those that are on.
	Traces() []Trace
	// Untrace ends traces, and returns how many.
	Untrace(Untrace) int
	// Flush forgets what this process remembers of a user, or of everybody if that
	// is "", and returns how many entries there were.
	Flush(user string) int
	// Reload reads the configuration again. The error is for the administrator,
	// and may have several lines; then nothing has changed.
	Reload(ctx context.Context) error
	// Upgrade lets a new process take over. If there is an error, this one goes
	// on as if nothing had happened. Its ctx does not end when the administrator
	// gives up waiting: half an upgrade would help nobody.
	Upgrade(ctx context.Context) (pid int, err error)
	// Stop begins to end this process and returns at once. Open sessions may go on
	// for the time given; if that is negative, for the configured grace.
	Stop(drain time.Duration)
}

// What a process is doing.
const (
	Serving  = "serving"
	Retired  = "retired" // was replaced, and keeps the sessions that cannot move
	Stopping = "stopping"
)

// A Process is one process of a running usher. The names in JSON are a contract.
type Process struct {
	PID             int       `json:"pid"`
	Version         string    `json:"version"`
	State           string    `json:"state"`
	Since           time.Time `json:"since"`
	Sessions        int       `json:"sessions"`
	Conversations   int       `json:"conversations"` // not logged in yet
	Descriptors     int       `json:"descriptors"`
	DescriptorLimit int       `json:"descriptor_limit"`
	Relay           []Relay   `json:"relay,omitempty"`   // processes that have sessions of this one
	Alone           bool      `json:"alone,omitempty"`   // there should be a relay process, and there is none
	Sources         []Source  `json:"sources,omitempty"` // of accounts, in the order in which they are asked
}

// A Relay is a relay process as the process of usher sees it that has it. The names in
// JSON are a contract.
type Relay struct {
	PID      int    `json:"pid"`
	Version  string `json:"version"`
	State    string `json:"state"`    // relaying, replaced, slow
	Sessions int    `json:"sessions"` // of the process that sees it, and counted there, too
}

// A Source is a source of accounts, and what is remembered of its answers. The names in
// JSON are a contract.
type Source struct {
	Name    string         `json:"name"`
	Entries int            `json:"entries"` // accounts that are remembered
	Unknown int            `json:"unknown"` // names that are remembered as unknown
	Hits    uint64         `json:"hits"`    // questions that were answered from memory …
	Misses  uint64         `json:"misses"`  // … and those that were not
	Stale   uint64         `json:"stale"`   // of these, answered from memory in the end: the source was down
	Oldest  int            `json:"oldest_seconds"`
	Servers []SourceServer `json:"servers"`
}

// A SourceServer is one of the servers that a source asks.
type SourceServer struct {
	Server string    `json:"server"`
	Well   bool      `json:"well"`
	Since  time.Time `json:"since"` // it is so
	Error  string    `json:"error"` // ""; or why it is not well
}

// A Session is somebody who is logged in. The names in JSON are a contract.
type Session struct {
	ID       string    `json:"id"` // as in the log
	User     string    `json:"user"`
	Protocol string    `json:"protocol"`
	Remote   string    `json:"remote"`  // address:port
	Backend  string    `json:"backend"` // its name in the configuration
	Target   string    `json:"target"`  // host:port, or backend/host:port
	TLS      string    `json:"tls"`     // of the client; "no" if there is none
	Since    time.Time `json:"since"`
	PID      int       `json:"pid"`
	From     string    `json:"from,omitempty"` // address:port from which usher is connected to the server
	Via      string    `json:"via,omitempty"`  // address:port of the front end that the client came by
	Ext      string    `json:"ext,omitempty"`  // what that calls the session
}

// A Status is the answer to GET /v1/status.
type Status struct {
	Processes []Process `json:"processes"` // the one that answers first
	Missing
}

// A Listing is the answer to GET /v1/sessions.
type Listing struct {
	Sessions []Session `json:"sessions"` // the oldest first
	Missing
}

// A Kicked is the answer to POST /v1/kick.
type Kicked struct {
	Kicked int `json:"kicked"`
	Missing
}

// A Flushed is the answer to POST /v1/flush.
type Flushed struct {
	Flushed int `json:"flushed"` // entries
	Missing
}

// An Upgraded is the answer to POST /v1/upgrade.
type Upgraded struct {
	PID int `json:"pid"` // of the new process
}

// A Stopped is the answer to POST /v1/stop.
type Stopped struct {
	PIDs []int `json:"pids"` // of the processes that are ending now
	Missing
}

// Missing are the processes that did not answer: what is told is not all.
type Missing struct {
	Unreachable []Unreachable `json:"unreachable,omitempty"`
}

// An Unreachable is a process that holds its socket but did not answer.
type Unreachable struct {
	PID   int    `json:"pid"`
	Error string `json:"error"`
}
