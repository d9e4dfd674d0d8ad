package route

import "net/netip"

// A Program is a mail program of this machine that can be started for somebody who has
// proved who it is: one name of [local].
type Program struct {
	Name   string // as the configuration calls it: "dovecot"
	Speaks Dialect
	Mail   map[string]string // by protocol: the name of the command in the helper's list
}

// A Dialect is how a program is told whom it serves, and how it greets.
type Dialect string

// The dialects.
const (
	Dovecot Dialect = "dovecot" // IMAP: * PREAUTH; POP3: greets with nothing
	Courier Dialect = "courier" // IMAP: a tagged OK; POP3: +OK
	Preauth Dialect = "preauth" // IMAP: * PREAUTH; POP3: +OK
)

// An Exec is one start of a program: as whom, for whom.
type Exec struct {
	Program  string // the name of the command in the helper's list
	Speaks   Dialect
	User     string // the account's name
	UID, GID uint32
	Home     string
	Mail     string            // where the mailbox is, as its source says; "": where the program looks by itself
	Attrs    map[string]string // of the account, for programs that know quotas and options

	Client Told // filled in when the login is on its way
}

// Told is what a program may know of the client.
type Told struct {
	ID            string // of the session
	Remote, Local netip.AddrPort
	TLS           bool // the client's connection is encrypted
	UTF8          bool // POP3's UTF8 was said: RFC 6856 §2
}
