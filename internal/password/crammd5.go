package password

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
)

const cramSize = 2 * md5.Size

// A cram is what CRAM-MD5 (RFC 2195 §2) makes of a password before it sees a
// challenge: the states of MD5 behind the outer and the inner key of HMAC. With
// them anybody can answer challenges: they are as secret as the password.
type cram struct {
	outer, inner [md5.Size]byte
}

func parseCRAM(raw string) (secret, error) {
	var c cram
	copy(c.outer[:], raw)
	copy(c.inner[:], raw[md5.Size:])
	return secret{is: c.is}, nil
}

func makeCRAM(clear string) (string, error) {
	c := newCRAM(clear)
	return string(c.outer[:]) + string(c.inner[:]), nil
}

func (c cram) is(clear string) (bool, error) {
	got := newCRAM(clear)
	return subtle.ConstantTimeCompare(got.outer[:], c.outer[:])&subtle.ConstantTimeCompare(got.inner[:], c.inner[:]) == 1, nil
}

// newCRAM begins HMAC with the password as its key: RFC 2104 §2.
func newCRAM(clear string) cram {
	var key [md5.BlockSize]byte
	if len(clear) > len(key) {
		sum := md5.Sum([]byte(clear))
		clear = string(sum[:])
	}
	copy(key[:], clear)
	return cram{outer: md5State(key, 0x5c), inner: md5State(key, 0x36)}
}

// md5State is the state of MD5 after one block, its words in MD5's own order.
func md5State(block [md5.BlockSize]byte, xor byte) (state [md5.Size]byte) {
	for i := range block {
		block[i] ^= xor
	}
	h := md5.New()
	h.Write(block[:])
	saved, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("password: MD5 does not tell its state: " + err.Error())
	}
	words := saved[len("md5\x01"):]
	for i := 0; i < len(state); i += 4 {
		binary.LittleEndian.PutUint32(state[i:], binary.BigEndian.Uint32(words[i:]))
	}
	return state
}
