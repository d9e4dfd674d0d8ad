// Package record is the record layer of TLS 1.3 (RFC 8446 §5) after the handshake:
// a connection is two secrets and two numbers, which rest in some 150 bytes and can be
// moved to another process. The handshake is done by crypto/tls; Keys are what is left
// of it.
//
// Read Conn first, then open.go for what comes from a peer, seal.go for what is sent to
// it, and keys.go for how keys are made and changed. It gives the same verdict as
// crypto/tls about whatever a peer sends: a differential fuzz test holds it to that.
// Nothing here reads or writes a socket.
package record

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
)

// Sizes of RFC 8446 §5.1 and §5.2.
const (
	HeaderSize = 5
	MaxPlain   = 1 << 14        // of what a record holds
	maxInner   = MaxPlain + 1   // with its content type, without padding
	maxSealed  = MaxPlain + 256 // behind the header
	tagSize    = 16             // of all three suites
	Overhead   = HeaderSize + 1 + tagSize
	MaxRecord  = HeaderSize + maxSealed
)

// Content types: RFC 8446 §5.1.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

// version stands in all headers: RFC 8446 §5.1, legacy_record_version.
const version = tls.VersionTLS12

// Keys are a connection at rest. They open and forge all that it says from here on: they
// are never logged, and Wipe ends them.
type Keys struct {
	Suite  uint16 // tls.TLS_AES_128_GCM_SHA256 and its kin
	Server bool   // we are the side that was called
	In     Half   // what the peer sends
	Out    Half   // what we send
}

// A Half is one direction.
type Half struct {
	Secret []byte // application_traffic_secret_N: RFC 8446 §7.1
	Number uint64 // of the next record
}

// Wipe overwrites the secrets.
func (k *Keys) Wipe() {
	clear(k.In.Secret)
	clear(k.Out.Secret)
}

// Format keeps the secrets out of logs, with any verb.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(TLS keys)") }

// Format keeps the secret out of logs, with any verb.
func (Half) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(TLS keys)") }

// A Conn is a connection after its handshake. It is used by one goroutine. Its ciphers
// are made when they are needed; Cool drops them.
type Conn struct {
	suite   *suite
	in, out half
	part    []byte // of a handshake message that has begun
	useless uint8  // records since the last with data
	owes    bool   // the peer is to be told of a new key: see Due
	turned  bool   // the peer has changed its key: see Turned
	server  bool
}

// Begin goes on with a connection. It takes the keys over, and wipes them.
func (c *Conn) Begin(k Keys) error {
	s := suiteOf(k.Suite)
	switch {
	case s == nil:
		return fmt.Errorf("there is no TLS 1.3 suite %#04x", k.Suite)
	case len(k.In.Secret) != s.hash.Size() || len(k.Out.Secret) != s.hash.Size():
		return errors.New("a traffic secret of the wrong length")
	}
	*c = Conn{suite: s, server: k.Server}
	c.in.set(k.In)
	c.out.set(k.Out)
	k.Wipe()
	return nil
}

// New returns a connection that was begun.
func New(k Keys) (*Conn, error) {
	c := new(Conn)
	return c, c.Begin(k)
}

// Keys gives the connection away: it must not be used here any more. ok is false in
// the middle of a handshake message, or while something is Due: then it stays.
func (c *Conn) Keys() (k Keys, ok bool) {
	if !c.Rests() {
		return Keys{}, false
	}
	k = Keys{Suite: c.suite.id, Server: c.server, In: c.in.get(c.suite), Out: c.out.get(c.suite)}
	c.Wipe()
	return k, true
}

// Wipe ends the connection here and overwrites its secrets.
func (c *Conn) Wipe() {
	c.Cool()
	clear(c.in.secret[:])
	clear(c.out.secret[:])
}

// Cool drops what can be made again from the secrets.
func (c *Conn) Cool() { c.in.cipher, c.out.cipher = nil, nil }

// Rests tells whether Keys would give the connection away.
func (c *Conn) Rests() bool { return len(c.part) == 0 && !c.owes }

// Due appends the record that the peer must be sent before any other, if there is one:
// our new key, if it has asked for that (RFC 8446 §4.6.3). One answers several questions.
func (c *Conn) Due(dst []byte) []byte {
	if !c.owes {
		return dst
	}
	c.owes = false
	return c.update(dst)
}

// Owes tells whether anything is Due.
func (c *Conn) Owes() bool { return c.owes }

// Turned tells whether the peer has changed its key since this was asked last: that costs
// a hundred times what a short record does.
func (c *Conn) Turned() bool {
	turned := c.turned
	c.turned = false
	return turned
}
