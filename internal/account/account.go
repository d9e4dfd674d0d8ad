// Package account says who may log in and where each account lives.
//
// Read Account and Directory first: a Directory answers who a name is, with an
// Account that brings its own Proof. Chain asks several directories in turn.
package account

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"usher/internal/password"
)

// An Account is what a Directory knows about one name. It is not changed after
// the Directory has given it out.
type Account struct {
	Name   string            // canonical, as in logs, limits and routes: "ann@example.org"
	Proof  Proof             // checks a password; nil if only the backend can
	Place  Place             // where the mail lives; zero: the routes decide
	Denied *Denied           // set if the account may not log in even with the right password
	Attrs  map[string]string // whatever else the source said, for routes
}

// A Place is where an account's mail lives, as its source says it.
type Place struct {
	Hosts     []string // tried in order: a host, host:port, or a backend's name
	Port      uint16   // for hosts without one; 0: the backend's
	TLS       TLSMode  // towards the host; TLSUnset: the backend's
	AnyCert   bool     // TLS without verification of the certificate
	User      string   // name towards the backend; "": Account.Name
	Password  string   // password towards the backend; "": the client's own
	Master    string   // logs in as this master, with Password, for User; "": as User
	Mechanism string   // SASL mechanism towards the backend; "": what fits
	Timeout   time.Duration
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

// A Query is everything a Directory may ask about a login.
type Query struct {
	Name       string // as the client gave it, with the listener's default domain
	Protocol   string // "imap", "pop3"
	Remote     netip.AddrPort
	Local      netip.AddrPort
	TLS        bool
	ServerName string // SNI
}

var (
	// ErrUnknown says that there is no such account.
	ErrUnknown = errors.New("no such account")
	// ErrRefused says that the password is not the account's.
	ErrRefused = errors.New("wrong password")
)

// A Directory answers who a name is. It is safe for concurrent use.
// Lookup returns ErrUnknown if there is no such account. Any other error means
// that the question could not be answered; the login is then refused as
// temporarily unavailable, never as a wrong password.
type Directory interface {
	Lookup(ctx context.Context, q Query) (*Account, error)
}

// A Proof decides whether a password is an account's. Check returns ErrRefused
// if it is not; any other error means that it could not tell.
type Proof interface {
	Check(ctx context.Context, password string) error
}

// A Driver reads the keys of one [[accounts]] block, without opening anything.
// decode fills a struct and fails on unknown keys.
type Driver func(decode func(into any) error) (Open, error)

// Open opens the source of a block. It may keep files of its own in the folder
// state. A Directory that is also an io.Closer is closed when the server stops;
// one that has Notes() []string is asked once what the log should say.
type Open func(ctx context.Context, state string) (Directory, error)

// Hashed is the Proof of an account whose source knows a hash of the password.
type Hashed struct {
	Hash string // "{SCHEME}hash" or crypt(3), as package password reads it
}

// Check implements Proof. A hash that cannot be read is "cannot tell".
func (h Hashed) Check(_ context.Context, clear string) error {
	ok, err := password.Verify(h.Hash, clear)
	switch {
	case err != nil:
		return err
	case !ok:
		return ErrRefused
	}
	return nil
}
