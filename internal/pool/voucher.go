package pool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"usher/internal/proxyheader"
)

// A Voucher is what a node says of a client that has proved to it who it is.
type Voucher struct {
	Client   proxyheader.Header // its address, TLS state and name asked for, and the session's ID
	Protocol string             // "imap"
	UTF8     bool               // it has said POP3's UTF8: RFC 6856 §2
	Build    string             // of the node that vouches
	Account  Account
}

// An Account is who the client is, and all that the other node must know to serve it.
type Account struct {
	Name   string            `json:"name"`
	Fields map[string]string `json:"fields,omitempty"` // of which none is a secret: that is for the caller to see to
}

// A voucher is a PROXY header of version 2 (proxy-protocol.txt): an address, and values
// with a type and a length each. Types from 0xE0 to 0xEF are for applications to define
// (§2.2.7). Of ours, those with odd numbers must be understood, or the voucher is
// refused; those with even ones may be passed over.
const (
	typeProtocol = 0xE1
	typeBuild    = 0xE2
	typeAccount  = 0xE3
	typeFacts    = 0xE5

	ownTypes, lastOwn = 0xE0, 0xEF
	critical          = 1
)

// The bits of typeFacts. A bit that is not known is refused.
const factUTF8 = 1

// Bounds of a voucher, which are bounds of the receiver's memory.
const (
	MaxVoucher = 16 << 10
	maxName    = 512 // of an account: what account sources may have
	maxFields  = 200
	maxBuild   = 80
)

// The parts of a header that come first: §2.2.
const (
	signature  = "\r\n\r\n\x00\r\nQUIT\n"
	commandAt  = len(signature)
	lengthAt   = commandAt + 2
	headerSize = lengthAt + 2

	isLocal = 0x20 // version 2: the sender speaks for itself
	isProxy = 0x21 // version 2: it speaks for a client
)

// ErrTooLong says that an account has more attributes than a voucher can hold.
var ErrTooLong = errors.New("the account has too many or too long attributes to be passed on to another node")

// Bytes is the voucher as it is sent.
func (v Voucher) Bytes() ([]byte, error) {
	who, err := json.Marshal(v.Account)
	if err != nil {
		return nil, fmt.Errorf("voucher: %w", err)
	}
	b := v.Client.Bytes(2)
	b[commandAt] = isProxy // also for a client that has no address, such as a pipe of this machine
	b = appendValue(b, typeProtocol, []byte(v.Protocol))
	if v.Build != "" {
		b = appendValue(b, typeBuild, []byte(v.Build))
	}
	if v.UTF8 {
		b = appendValue(b, typeFacts, []byte{factUTF8})
	}
	if len(b)+len(who) > MaxVoucher-headerSize || len(v.Account.Fields) > maxFields {
		return nil, ErrTooLong
	}
	return finish(appendValue(b, typeAccount, who)), nil
}

func appendValue(b []byte, kind byte, value []byte) []byte {
	b = append(b, kind, 0, 0)
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(len(value))) //nolint:gosec // all of it is shorter than MaxVoucher
	return append(b, value...)
}

// finish writes the length of what follows the header's first part.
func finish(b []byte) []byte {
	binary.BigEndian.PutUint16(b[lengthAt:], uint16(len(b)-headerSize)) //nolint:gosec // as above
	return b
}

// hello is what a node says first to one that comes: that it takes it in, and its build.
func hello(build string) []byte {
	b := append([]byte(signature), isLocal, 0, 0, 0)
	if build != "" {
		b = appendValue(b, typeBuild, []byte(build))
	}
	return finish(b)
}
