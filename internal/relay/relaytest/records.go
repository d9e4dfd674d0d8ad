package relaytest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// records writes TLS 1.3 records by hand, for what crypto/tls never says: key updates,
// messages in fragments, records of one byte.
type records struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// Types of what is in a record: RFC 8446 §5.1.
const (
	handshake   = 22
	application = 23
)

// newRecords begins with a secret: RFC 8446 §7.3.
func newRecords(t testing.TB, secret []byte) *records {
	t.Helper()
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &records{secret: secret, aead: aead, iv: expand(t, secret, "iv", 12)}
}

// expand is HKDF-Expand-Label: RFC 8446 §7.1.
func expand(t testing.TB, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// seal makes a record: RFC 8446 §5.2.
func (r *records) seal(kind byte, data []byte) []byte {
	nonce := bytes.Clone(r.iv)
	for i := range 8 {
		nonce[11-i] ^= byte(r.seq >> (8 * i))
	}
	r.seq++
	inner := append(bytes.Clone(data), kind)
	n := len(inner) + r.aead.Overhead()
	header := []byte{application, 3, 3, byte(n >> 8), byte(n)}
	return r.aead.Seal(bytes.Clone(header), nonce, inner, header)
}

// update says that what follows is under new keys, and may ask for the same: RFC 8446
// §4.6.3. It comes in pieces of so many bytes.
func (r *records) update(t testing.TB, ask bool, piece int) (wire []byte) {
	t.Helper()
	message := []byte{24, 0, 0, 1, 0}
	if ask {
		message[4] = 1
	}
	for len(message) > 0 {
		n := min(piece, len(message))
		wire = append(wire, r.seal(handshake, message[:n])...)
		message = message[n:]
	}
	*r = *newRecords(t, expand(t, r.secret, "traffic upd", 32))
	return wire
}

// records of what a peer says from here on, instead of its tls.Conn.
func (p peer) records(t testing.TB, who string) *records {
	t.Helper()
	for line := range strings.SplitSeq(p.secrets.String(), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == who {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			if len(secret) != sha256.Size {
				t.Skip("this machine prefers a suite that is not for SHA-256")
			}
			r := newRecords(t, secret)
			r.seq = p.spoken
			return r
		}
	}
	t.Fatalf("no %s in the log of keys", who)
	return nil
}
