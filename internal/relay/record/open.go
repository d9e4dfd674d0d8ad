package record

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

// Next tells how long the record is that b begins with, header included; 0: its header
// is not there yet. The record itself may not be there whole. An error ends the
// connection.
func Next(b []byte) (int, error) {
	if len(b) < HeaderSize {
		return 0, nil
	}
	if v := binary.BigEndian.Uint16(b[1:]); v != version {
		return 0, fault(protocolVersion, "a record of version %#04x", v)
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > maxSealed {
		return 0, fault(recordOverflow, "a record of %d bytes", n)
	}
	return HeaderSize + n, nil
}

// maxUseless is how many records without data may follow each other, as in crypto/tls.
const maxUseless = 16

// Open appends to dst what a whole record of the peer says. Records that say nothing
// append nothing. dst must have room for the record, or it grows. The error is io.EOF
// at the peer's goodbye; any error ends what is read.
func (c *Conn) Open(dst, record []byte) ([]byte, error) {
	at := len(dst)
	dst, kind, err := c.open(dst, record)
	if err != nil {
		return dst[:at], err
	}
	said := dst[at:]
	if len(c.part) > 0 && kind != typeHandshake { // RFC 8446 §5.1: not interleaved
		return dst[:at], fault(unexpectedMessage, "a record within a handshake message")
	}
	switch kind {
	case typeData:
		if len(said) > 0 {
			c.useless = 0
			return dst, nil
		}
		err = c.idle()
	case typeAlert:
		err = c.alerted(said)
	case typeHandshake:
		err = c.handshake(said)
	case typeChangeCipherSpec:
		if len(said) != 1 || said[0] != 1 {
			return dst[:at], fault(decodeError, "a change_cipher_spec of %d bytes", len(said))
		}
		err = c.idle() // RFC 8446 §5: it means nothing
	default:
		err = fault(unexpectedMessage, "a record of type %d", kind)
	}
	return dst[:at], err
}

// open decrypts one record and takes the padding off: RFC 8446 §5.2, §5.4.
func (c *Conn) open(dst, record []byte) (out []byte, kind byte, err error) {
	at, kind, body := len(dst), record[0], record[HeaderSize:]
	if kind == typeChangeCipherSpec { // which is never protected: RFC 8446 §5
		if len(body) > MaxPlain {
			return dst, kind, fault(recordOverflow, "%d bytes in a record", len(body))
		}
		return append(dst, body...), kind, nil
	}
	a, nonce := c.in.ready(c.suite)
	out, err = a.Open(dst, nonce, body, record[:HeaderSize])
	if err != nil {
		return dst, kind, fault(badRecordMAC, "a record that is not the peer's, or is damaged")
	}
	inner := out[at:]
	switch {
	case kind != typeData:
		return dst, kind, fault(unexpectedMessage, "a record of outer type %d", kind)
	case len(inner) > maxInner:
		return dst, kind, fault(recordOverflow, "%d bytes in a record", len(inner))
	}
	c.in.number++
	end := len(inner)
	for end > 0 && inner[end-1] == 0 {
		end--
	}
	switch {
	case len(inner) == 0: // crypto/tls takes it for one without data
	case end == 0:
		return dst, kind, fault(unexpectedMessage, "a record of padding only")
	default:
		kind, end = inner[end-1], end-1
	}
	return out[:at+end], kind, nil
}

// idle counts records that bring nothing: a peer may not keep us busy with them.
func (c *Conn) idle() error {
	if c.useless++; c.useless > maxUseless {
		return fault(unexpectedMessage, "too many records without data")
	}
	return nil
}

// alerted takes an alert: RFC 8446 §6. user_canceled alone means nothing (§6.1).
func (c *Conn) alerted(said []byte) error {
	switch {
	case len(said) != 2:
		return fault(unexpectedMessage, "an alert of %d bytes", len(said))
	case alert(said[1]) == closeNotify:
		return io.EOF
	case alert(said[1]) == userCanceled:
		return c.idle()
	}
	return fmt.Errorf("the peer ends TLS: alert %d", said[1])
}

// Handshake messages that may come behind the handshake: RFC 8446 §4.6.
const (
	msgNewSessionTicket = 4
	msgKeyUpdate        = 24
)

// maxMessage is how long a handshake message may be, as in crypto/tls.
const maxMessage = 64 << 10

// handshake takes messages, which may be cut by the ends of records: RFC 8446 §5.1.
func (c *Conn) handshake(said []byte) error {
	if len(said) == 0 {
		return fault(unexpectedMessage, "a handshake record without content")
	}
	c.part = append(c.part, said...) // at its end, however small the pieces are
	taken := 0
	for all := c.part; len(all) >= 4; all = c.part[taken:] {
		n := int(all[1])<<16 | int(all[2])<<8 | int(all[3])
		if n > maxMessage {
			return fault(internalError, "a handshake message of %d bytes", n)
		}
		if len(all) < 4+n {
			break
		}
		taken += 4 + n
		if err := c.message(all[0], all[4:4+n], taken == len(c.part)); err != nil {
			return err
		}
	}
	switch {
	case taken == len(c.part):
		c.part = nil
	case taken > 0:
		c.part = append([]byte(nil), c.part[taken:]...)
	}
	return nil
}

// message takes one whole message; last says that nothing follows it in its record.
func (c *Conn) message(kind byte, body []byte, last bool) error {
	switch {
	case kind == msgKeyUpdate && (len(body) != 1 || body[0] > 1),
		kind == msgNewSessionTicket && !isTicket(body):
		return fault(decodeError, "a handshake message in bad form")
	}
	if err := c.idle(); err != nil {
		return err
	}
	switch {
	case kind == msgKeyUpdate && !last: // RFC 8446 §5.1: before a change of keys a record ends
		return fault(unexpectedMessage, "a message behind KeyUpdate")
	case kind == msgKeyUpdate:
		c.in.next(c.suite)
		c.turned = true
		c.owes = c.owes || body[0] == 1 // update_requested: RFC 8446 §4.6.3
		return nil
	case kind == msgNewSessionTicket && !c.server: // the session is not resumed from here
		return checkTicket(body)
	}
	return fault(unexpectedMessage, "a handshake message of type %d", kind)
}

// maxTicketLife is in seconds: RFC 8446 §4.6.1.
const maxTicketLife = 7 * 24 * 60 * 60

// checkTicket finds fault with a ticket as crypto/tls would that keeps it: one that is
// for no time at all may be anything.
func checkTicket(body []byte) error {
	life, nonce := binary.BigEndian.Uint32(body), int(body[8])
	switch {
	case life > maxTicketLife:
		return fault(illegalParameter, "a session ticket for more than seven days")
	case life > 0 && binary.BigEndian.Uint16(body[9+nonce:]) == 0:
		return fault(decodeError, "a session ticket without a label")
	}
	return nil
}

// isTicket tells whether the body is a NewSessionTicket: RFC 8446 §4.6.1.
func isTicket(body []byte) bool {
	s := cryptobyte.String(body)
	var life, add uint32
	var nonce, ticket, extensions cryptobyte.String
	if !s.ReadUint32(&life) || !s.ReadUint32(&add) || !s.ReadUint8LengthPrefixed(&nonce) ||
		!s.ReadUint16LengthPrefixed(&ticket) || !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return false
	}
	for !extensions.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&value) {
			return false
		}
		if kind == extEarlyData {
			var most uint32
			if !value.ReadUint32(&most) || !value.Empty() {
				return false
			}
		}
	}
	return true
}

// extEarlyData is the only extension of tickets: RFC 8446 §4.2.10.
const extEarlyData = 42
