package record

import (
	"encoding/binary"
	"errors"
)

// Seal appends the records that bring plain to the peer. RFC 8446 §5.5 bounds how much
// may be sealed with one key: before that a new one begins.
func (c *Conn) Seal(dst, plain []byte) []byte {
	for len(plain) > 0 {
		n := min(len(plain), MaxPlain)
		if c.out.number >= c.suite.most {
			dst = c.update(dst)
		}
		dst = c.seal(dst, typeData, plain[:n])
		plain = plain[n:]
	}
	return dst
}

// CloseNotify appends the record that says that no more will come: RFC 8446 §6.1.
func (c *Conn) CloseNotify(dst []byte) []byte {
	return c.seal(dst, typeAlert, []byte{levelWarning, byte(closeNotify)})
}

// Complain appends the alert that tells the peer why the connection ends; nothing, if
// err is not a fault of its: RFC 8446 §6.2.
func (c *Conn) Complain(dst []byte, err error) []byte {
	var f *Fault
	if !errors.As(err, &f) {
		return dst
	}
	return c.seal(dst, typeAlert, []byte{levelFatal, byte(f.alert)})
}

// keyUpdate is that message, which asks for none in return: RFC 8446 §4.6.3.
var keyUpdate = []byte{msgKeyUpdate, 0, 0, 1, 0}

// update appends a KeyUpdate, after which our own key is the next one.
func (c *Conn) update(dst []byte) []byte {
	dst = c.seal(dst, typeHandshake, keyUpdate)
	c.out.next(c.suite)
	return dst
}

// seal appends one record: RFC 8446 §5.2.
func (c *Conn) seal(dst []byte, kind byte, plain []byte) []byte {
	a, nonce := c.out.ready(c.suite)
	at := len(dst)
	dst = append(dst, typeData, version>>8, version&0xff, 0, 0)
	binary.BigEndian.PutUint16(dst[at+3:], uint16(len(plain)+1+tagSize))
	dst = append(dst, plain...)
	dst = append(dst, kind)
	body := dst[at+HeaderSize:]
	dst = a.Seal(dst[:at+HeaderSize], nonce, body, dst[at:at+HeaderSize])
	c.out.number++
	return dst
}
