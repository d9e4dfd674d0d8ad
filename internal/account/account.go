// Package account says who may log in and where each account lives.
//
// Read Account and Directory first: a Directory answers who a name is, with an
// Account that brings its own Proof. What an organisation has is a Source, which
// says what it knows in Fields; a Reader makes a Directory of it, and a Chain asks
// several in turn.
package account

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// An Account is what a Directory knows about one name. It is not changed after
// the Directory has given it out.
type Account struct {
	Name   string            // canonical, as in logs, limits and routes: "ann@example.org"
	Source string            // the name of the source that knows it
	Proof  Proof             // checks a password; nil if only the backend can
	Place  Place             // where the mail lives; zero: the routes decide
	Access Access            // when, from where and for what it may be used
	Denied *Denied           // set if the account may not log in even with the right password
	States map[string]string // of HMAC, for answers to challenges, by field: see Stored
	Attrs  map[string]string // whatever else the source said, for routes
	Asked  time.Time         // when the source said so, if that is remembered; zero: just now
	Memory *Memory           // of the password that was right last; nil: nothing is kept
}

// A Place is where an account's mail lives, as its source says it.
type Place struct {
	Here      bool     // on the machine that is asked, whatever Hosts says: proxy=N
	Hosts     []string // tried in order: a host, host:port, or the name of a backend or of a node of the pool
	Port      uint16   // for hosts without one; 0: the backend's
	TLS       TLSMode  // towards the host; TLSUnset: the backend's
	AnyCert   bool     // TLS without verification of the certificate
	User      string   // name towards the backend; "": Account.Name
	Password  string   // password towards the backend; "": the client's own
	Master    string   // logs in as this master, with Password, for User; "": as User
	Mechanism string   // SASL mechanism towards the backend; "": what fits
	Timeout   time.Duration
	SourceIP  netip.Addr // what to dial from; zero: the system decides
}

// TLSMode says how a connection is encrypted.
type TLSMode int

// The ways to encrypt a connection. TLSUnset leaves it to the next in line.
const (
	TLSUnset TLSMode = iota
	TLSNone
	TLSStart    // STARTTLS or STLS: RFC 9051 §6.2.1, RFC 2595 §4
	TLSImplicit // from the first byte: RFC 8314 §3
)

// String is the word of the configuration.
func (m TLSMode) String() string {
	return map[TLSMode]string{TLSNone: "none", TLSStart: "starttls", TLSImplicit: "implicit"}[m]
}

// ParseTLSMode reads the words of the configuration: none, starttls, implicit.
// The empty string is TLSUnset.
func ParseTLSMode(s string) (TLSMode, bool) {
	switch s {
	case "":
		return TLSUnset, true
	case "none":
		return TLSNone, true
	case "starttls":
		return TLSStart, true
	case "implicit":
		return TLSImplicit, true
	}
	return TLSUnset, false
}

// Denied says why a known account may not log in.
type Denied struct {
	Text string // for the client; "": the usual words
	Code string // "user_disabled", "pass_expired", "authz_fail", "temp_fail" or ""
}

// A Query is everything a Directory may ask about a login. Only Name must be set.
type Query struct {
	Name       string // as the client gave it, with the listener's default domain
	Protocol   string // "imap", "pop3"
	Remote     netip.AddrPort
	Local      netip.AddrPort
	TLS        bool
	ServerName string // SNI

	// Password is what the client shows, for sources that say who somebody is only
	// together with it (Uses has UsesPassword). "" if it shows none.
	Password string
	// Answer is what the client answered to a challenge instead; nil: nothing.
	Answer *Answer
	// Fresh forbids an answer from memory: what was remembered did not fit.
	Fresh bool
	// Trace, if it is not nil, gathers how the answer was found.
	Trace *Trace
}

// An Answer is a client's answer to a challenge, for mechanisms that do not show
// the password, and for sources that check such answers themselves.
type Answer struct {
	Method    string // "cram-md5", "cram-sha1", "cram-sha256", "apop"
	Challenge string // as it was sent, without base64: "<123.456@example.org>"
	Response  string // as it came, without base64: "ann 3f…"; of APOP the digest only
}

// Secured tells whether a password is safe on its way from the client: under TLS,
// or within this machine.
func (q Query) Secured() bool { return q.TLS || q.Remote.Addr().Unmap().IsLoopback() }

var (
	// ErrUnknown says that there is no such account.
	ErrUnknown = errors.New("no such account")
	// ErrRefused says that the password is not the account's.
	ErrRefused = errors.New("wrong password")
)

// A Refusal is a refusal with words that the client may see, though it has proved
// nothing: the administrator allowed it. Login passes them on, on one line.
type Refusal struct {
	Text string
	Err  error // wraps ErrRefused; for the log
}

func (r Refusal) Error() string { return r.Err.Error() }

// Unwrap gives Err.
func (r Refusal) Unwrap() error { return r.Err }

// A Directory answers who a name is. It is safe for concurrent use.
// Lookup returns ErrUnknown if there is no such account, and ErrRefused if it can
// tell from what the query shows that it is somebody else. Any other error means
// that the question could not be answered; the login is then refused as
// temporarily unavailable, never as a wrong password.
type Directory interface {
	Lookup(ctx context.Context, q Query) (*Account, error)
}

// A Proof decides whether a password is an account's.
type Proof interface {
	// Check returns ErrRefused if the password is not the account's; any other
	// error means that it could not tell.
	Check(ctx context.Context, password string) error
	// Identity says by what it decides, such as a hash or a DN: of the same kind
	// and with the same identity, two decide alike. "" if it does not say.
	Identity() string
}
