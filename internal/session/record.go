package session

import (
	"math"
	"net/netip"
	"strings"
	"time"
	"unique"

	"usher/internal/limit"
)

// A record is a session as the Registry holds it for as long as it lasts: in 144 bytes.
// What many sessions have in common is there once for all of them.
type record struct {
	id      ID
	common  unique.Handle[common]
	account name
	remote  netip.AddrPort
	since   int64 // nanoseconds after the Registry began, by the clock that nobody sets; never: no time
	until   int64 // Unix nanoseconds; 0: no time
	front   *Front
	seat    limit.Seat
	next    int32  // the next record of the same port, if one follows
	port    uint16 // of our end towards the server; 0: it has none
	follows bool
	coming  bool
}

// common is what sessions of the same kind to the same server have in common.
type common struct {
	protocol, target, tls string
	near                  netip.Addr
	far                   netip.AddrPort
}

// A name is text that is short, as most names are, or lies elsewhere.
type name struct {
	long  *string // nil: short holds it
	short [31]byte
	n     uint8 // of short
}

// newName copies a text: else all that it came with would stay, such as the password.
func newName(text string) (n name) {
	if len(text) > len(n.short) {
		text = strings.Clone(text)
		return name{long: &text}
	}
	n.n = uint8(copy(n.short[:], text))
	return n
}

func (n *name) String() string {
	if n.long != nil {
		return *n.long
	}
	return string(n.short[:n.n])
}

// never is no time.
const never = math.MinInt64

func newRecord(s *Session, began time.Time) record {
	rec := record{
		id:      s.ID,
		common:  unique.Make(common{s.Protocol, s.Target, s.TLS, s.Near.Addr(), s.Far}),
		account: newName(s.Account),
		remote:  s.Remote,
		since:   never,
		front:   s.Front,
		seat:    s.Seat,
		port:    s.Near.Port(),
	}
	if !s.Since.IsZero() {
		rec.since = int64(s.Since.Sub(began))
	}
	if !s.Until.IsZero() {
		rec.until = s.Until.UnixNano()
	}
	return rec
}

// session is what the record was made of.
func (rec *record) session(began time.Time) *Session {
	c := rec.common.Value()
	s := &Session{
		ID: rec.id, Account: rec.account.String(), Protocol: c.protocol, Remote: rec.remote,
		Target: c.target, TLS: c.tls, Front: rec.front, Far: c.far, Seat: rec.seat,
	}
	if c.near.IsValid() {
		s.Near = netip.AddrPortFrom(c.near, rec.port)
	}
	if rec.since != never {
		s.Since = began.Add(time.Duration(rec.since))
	}
	if rec.until != 0 {
		s.Until = time.Unix(0, rec.until)
	}
	return s
}
