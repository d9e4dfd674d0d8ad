package record

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// maxSecret is the longest traffic secret: SHA-384's.
const maxSecret = 48

// ivSize is the length of a nonce: RFC 8446 §5.3.
const ivSize = 12

// A suite is a cipher and a hash: RFC 8446 §B.4.
type suite struct {
	id      uint16
	keySize int
	hash    crypto.Hash
	newHash func() hash.Hash
	newAEAD func(key []byte) (cipher.AEAD, error)
	most    uint64 // records under one key: RFC 8446 §5.5
}

var suites = [...]suite{
	{tls.TLS_AES_128_GCM_SHA256, 16, crypto.SHA256, sha256.New, newGCM, 1 << 24},
	{tls.TLS_AES_256_GCM_SHA384, 32, crypto.SHA384, sha512.New384, newGCM, 1 << 24},
	{tls.TLS_CHACHA20_POLY1305_SHA256, 32, crypto.SHA256, sha256.New, chacha20poly1305.New, 1 << 48},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func suiteOf(id uint16) *suite {
	for i := range suites {
		if suites[i].id == id {
			return &suites[i]
		}
	}
	return nil
}

// expand is HKDF-Expand-Label with no context: RFC 8446 §7.1.
func (s *suite) expand(secret []byte, label string, size int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(s.newHash, secret, string(info), size)
	if err != nil {
		panic("record: " + err.Error()) // the lengths are ours
	}
	return out
}

// half is one direction.
type half struct {
	secret [maxSecret]byte
	number uint64 // of the next record
	cipher *aead  // nil: to be made of the secret
}

// aead seals and opens the records of one secret.
type aead struct {
	cipher.AEAD
	iv    [ivSize]byte
	nonce [ivSize]byte // scratch: it would escape to the heap for each record
}

func (h *half) set(k Half) {
	copy(h.secret[:], k.Secret)
	h.number = k.Number
}

func (h *half) get(s *suite) Half {
	return Half{Secret: append([]byte(nil), h.secret[:s.hash.Size()]...), Number: h.number}
}

// ready returns the cipher and the nonce of the next record: RFC 8446 §7.3, §5.3.
func (h *half) ready(s *suite) (a *aead, nonce []byte) {
	if h.cipher == nil {
		secret := h.secret[:s.hash.Size()]
		key := s.expand(secret, "key", s.keySize)
		made, err := s.newAEAD(key)
		if err != nil {
			panic("record: " + err.Error()) // the length is ours
		}
		clear(key)
		h.cipher = &aead{AEAD: made}
		copy(h.cipher.iv[:], s.expand(secret, "iv", ivSize))
	}
	a = h.cipher
	a.nonce = a.iv
	for i := range 8 {
		a.nonce[ivSize-1-i] ^= byte(h.number >> (8 * i))
	}
	return a, a.nonce[:]
}

// next is the next generation of the secret, whose numbers begin at 0: RFC 8446 §7.2.
func (h *half) next(s *suite) {
	secret := s.expand(h.secret[:s.hash.Size()], "traffic upd", s.hash.Size())
	copy(h.secret[:], secret)
	clear(secret)
	h.number, h.cipher = 0, nil
}
