// Package session knows who is logged in on this node, and by which connection to
// which server.
package session

import (
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"usher/internal/limit"
)

// An ID names a session in logs, from the connection to its end.
type ID uint64

// NewID returns an ID that no other session is likely to have. It is no secret.
func NewID() ID { return ID(rand.Uint64()) }

// String returns the ID as it stands in logs: 13 letters and digits.
func (id ID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// A Session is one login that is being relayed, or is on its way in.
type Session struct {
	ID       ID
	Account  string
	Protocol string
	Remote   netip.AddrPort // of the client
	Target   string         // "east/192.0.2.7:143"
	TLS      string         // of the client's connection: "TLSv1.3", or "no"
	Since    time.Time      // when its server was reached
	Until    time.Time      `json:",omitzero"` // when it must end, as what proved the client does not hold for longer; zero: it need not
	Front    *Front         `json:",omitzero"` // that the client came by; nil: none
	Near     netip.AddrPort `json:",omitzero"` // of the connection to the server: our end
	Far      netip.AddrPort `json:",omitzero"` // and the server's
	Seat     limit.Seat     `json:"-"`         // to be released when it ends
}

// A Front is a proxy or load balancer between the client and us.
type Front struct {
	Addr netip.AddrPort
	Node string `json:",omitempty"` // its name, if it is a node of the pool
	Ext  string // what it calls the session; "": it has not said
}

// String names the front end.
func (f Front) String() string {
	if f.Node != "" {
		return f.Node
	}
	return f.Addr.String()
}
