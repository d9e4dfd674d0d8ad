package penalty

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// A secret is drawn anew in each process: what is remembered of passwords is worth
// nothing elsewhere.
type secret [32]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

// A digest stands for a wrong password, of whom, and from where.
type digest uint64

// digest tells texts apart; it cannot be turned back.
func (s *secret) digest(texts ...string) digest {
	h := hmac.New(sha256.New, s[:])
	for _, t := range texts {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t)))) // no two lists look alike
		_, _ = h.Write([]byte(t))
	}
	return digest(binary.BigEndian.Uint64(h.Sum(nil)))
}

// isNew tells whether something wrong was not seen before, and remembers it. What was
// not shown always is.
func (p *Penalties) isNew(d digest, shown string) bool {
	if shown == "" {
		return true
	}
	if _, known := p.wrong.Get(d); known {
		return false
	}
	p.wrong.Put(d, struct{}{})
	return true
}
