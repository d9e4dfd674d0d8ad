package admin

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Riddle is what somebody wants explained: what would become of a login.
type Riddle struct {
	User     string `json:"user"`
	Protocol string `json:"protocol"`
	Remote   string `json:"remote,omitempty"`   // address of the client; "": this machine
	Password string `json:"password,omitempty"` // "": none is checked
}

// An Explanation is each step of the decision about one login. The names in JSON are
// a contract. Secrets are starred.
type Explanation struct {
	User     string     `json:"user"`               // as it was asked for
	Name     string     `json:"name"`               // that is meant: see [auth], and the listener's default domain
	Protocol string     `json:"protocol"`           //
	PID      int        `json:"pid"`                // of the process that explains
	Running  bool       `json:"running"`            // it is a running usher, with what that remembers
	Verdict  string     `json:"verdict"`            // found, unknown, refused or cannot tell
	Why      string     `json:"why,omitempty"`      // unless it is found
	Steps    []Step     `json:"steps"`              // what the sources were asked, in order
	Account  *Account   `json:"account,omitempty"`  // nil: unknown
	Route    string     `json:"route,omitempty"`    // what decides where it goes
	Stops    []StopHost `json:"stops,omitempty"`    // where it goes, in order
	Timeout  string     `json:"timeout,omitempty"`  // for all of them
	Password string     `json:"password,omitempty"` // right, wrong, or why nobody can tell; "": none was given
}

// The verdicts.
const (
	Found      = "found"
	Unknown    = "unknown"
	Refused    = "refused"
	CannotTell = "cannot tell"
)

// A Step is one source, or one key for it.
type Step struct {
	Source  string            `json:"source"`
	Key     string            `json:"key,omitempty"`
	Asked   []Asked           `json:"asked,omitempty"`
	TookMS  float64           `json:"took_ms"`
	Cached  bool              `json:"cached"`
	AgeSecs float64           `json:"age_seconds,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	Set     map[string]string `json:"set,omitempty"`
	Skipped string            `json:"skipped,omitempty"`
	Error   string            `json:"error,omitempty"`
}

// Asked is a question as it was sent.
type Asked struct {
	Server string `json:"server,omitempty"`
	Text   string `json:"text"`
}

// An Account is what was found.
type Account struct {
	Name   string            `json:"name"`
	Source string            `json:"source"`
	Proof  string            `json:"proof"`  // how a password is checked
	Access string            `json:"access"` // whether it may log in from there, with this protocol
	Attrs  map[string]string `json:"attributes,omitempty"`
}

// A StopHost is one address of a server that may be asked, or a program of this machine.
type StopHost struct {
	Backend string    `json:"backend"`
	Addr    string    `json:"addr"`  // host:port; of a program its name
	IP      string    `json:"ip"`    // IP:port
	TLS     string    `json:"tls"`   // none, starttls, implicit
	Login   string    `json:"login"` // as whom
	Sick    bool      `json:"sick"`  // failed lately, and is asked last …
	Until   time.Time `json:"until,omitzero"`
	Program *Program  `json:"program,omitempty"` // what would be started; nil: it is a server
}

// A Program is what would be started on this machine, and as whom.
type Program struct {
	Path   string `json:"path"`
	Speaks string `json:"speaks"` // dovecot, courier, preauth
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Home   string `json:"home"`
	Mail   string `json:"mail,omitempty"`
}

const explainPath = "/v1/explain"

// Explain asks what would become of a login.
func (c *Client) Explain(ctx context.Context, r Riddle) (e Explanation, err error) {
	err = c.call(ctx, http.MethodPost, "explain", nil, r, &e)
	return e, err
}

func (a api) explain(q question) (any, error) {
	var r Riddle
	if err := q.into(&r); err != nil {
		return nil, err
	}
	if r.User == "" {
		return nil, malformed(errors.New("there is no user to explain"))
	}
	return a.Daemon.Explain(q.ctx, r)
}
