package password

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
)

// blockSize is that of MD5, SHA-1 and SHA-256.
const blockSize = 64

// A keyed is a hash of which HMAC can be begun with a password as the key, and gone on
// with later: RFC 2104 §4.
type keyed struct {
	newHash func() hash.Hash
	size    int
	magic   string           // before the state, where Go tells it
	words   binary.ByteOrder // in which others write the state: that of the hash's sums
}

// keyeds are the hashes of HMAC, by the names of mechanisms: CRAM-MD5 (RFC 2195), and
// Courier's CRAM-SHA1 and CRAM-SHA256.
var keyeds = map[string]keyed{
	"MD5":    {md5.New, md5.Size, "md5\x01", binary.LittleEndian},
	"SHA1":   {sha1.New, sha1.Size, "sha\x01", binary.BigEndian},
	"SHA256": {sha256.New, sha256.Size, "sha\x03", binary.BigEndian},
}

// An hmacKey is what CRAM makes of a password before it sees a challenge: the states of
// the hash behind the outer and the inner key of HMAC. With them anybody can answer
// challenges: they are as secret as the password.
type hmacKey struct {
	hash         string
	outer, inner string
}

// parseHMAC reads the two states.
func parseHMAC(hash string) func(raw string) (secret, error) {
	size := keyeds[hash].size
	return func(raw string) (secret, error) {
		k := hmacKey{hash, raw[:size], raw[size:]}
		return secret{is: k.is, hmac: &k}, nil
	}
}

func makeCRAM(clear string) (string, error) {
	k := newHMAC("MD5", clear)
	return k.outer + k.inner, nil
}

func (k hmacKey) is(clear string) (bool, error) {
	got := newHMAC(k.hash, clear)
	return subtle.ConstantTimeCompare([]byte(got.outer+got.inner), []byte(k.outer+k.inner)) == 1, nil
}

// newHMAC begins HMAC with the password as its key: RFC 2104 §2.
func newHMAC(name, clear string) hmacKey {
	h := keyeds[name]
	var key [blockSize]byte
	if len(clear) > len(key) {
		long := h.newHash()
		long.Write([]byte(clear))
		clear = string(long.Sum(nil))
	}
	copy(key[:], clear)
	return hmacKey{name, h.state(key, 0x5c), h.state(key, 0x36)}
}

// sum goes on with HMAC.
func (k hmacKey) sum(text string) []byte {
	h := keyeds[k.hash]
	inner, outer := h.resume(k.inner), h.resume(k.outer)
	inner.Write([]byte(text))
	outer.Write(inner.Sum(nil))
	return outer.Sum(nil)
}

// state is that of the hash after one block, as others write it.
func (h keyed) state(block [blockSize]byte, xor byte) string {
	for i := range block {
		block[i] ^= xor
	}
	begun := h.newHash()
	begun.Write(block[:])
	saved, err := begun.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("password: a hash does not tell its state: " + err.Error())
	}
	state := saved[len(h.magic):][:h.size]
	return string(reorder(state, binary.BigEndian, h.words))
}

// resume is the hash after one block. Behind the state stand a block that is empty, and
// the number of bytes.
func (h keyed) resume(state string) hash.Hash {
	saved := append([]byte(h.magic), reorder([]byte(state), h.words, binary.BigEndian)...)
	saved = append(saved, make([]byte, blockSize)...)
	saved = binary.BigEndian.AppendUint64(saved, blockSize)
	resumed := h.newHash()
	if err := resumed.(encoding.BinaryUnmarshaler).UnmarshalBinary(saved); err != nil {
		panic("password: a hash does not take its state: " + err.Error())
	}
	return resumed
}

// reorder writes words in another order of bytes.
func reorder(state []byte, from, to binary.ByteOrder) []byte {
	out := make([]byte, len(state))
	for i := 0; i < len(state); i += 4 {
		to.PutUint32(out[i:], from.Uint32(state[i:]))
	}
	return out
}
