package password

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/xdg-go/stringprep"
)

// SCRAMIterations is how often new keys are hashed. Each client does this work with each
// login, slow telephones too; RFC 7677 §4 asks for 4096 at least.
const SCRAMIterations = 10_000

// A SCRAM is what a server keeps of a password for SCRAM: RFC 5802 §3.
type SCRAM struct {
	Hash       string // SHA-1 or SHA-256
	Iterations int
	Salt       []byte
	StoredKey  []byte // by which the client's proof is checked
	ServerKey  []byte // with which the server makes its own
}

var scramHashes = map[string]func() hash.Hash{"SHA-1": sha1.New, "SHA-256": sha256.New}

// parseSCRAM reads "iterations,salt,storedkey,serverkey".
func parseSCRAM(hash string) func(text string) (secret, error) {
	size := scramHashes[hash]().Size()
	return func(text string) (secret, error) {
		s, err := readSCRAM(text)
		switch {
		case err != nil:
			return secret{}, err
		case len(s.Salt) == 0 || len(s.Salt) > maxSalt:
			return secret{}, wrongSalt(len(s.Salt))
		case len(s.StoredKey) != size || len(s.ServerKey) != size:
			return secret{}, fmt.Errorf("its keys have %d and %d bytes, not %d", len(s.StoredKey), len(s.ServerKey), size)
		}
		s.Hash = hash
		return secret{is: s.is, slow: true, scram: s}, nil
	}
}

func readSCRAM(text string) (s *SCRAM, err error) {
	part := strings.Split(text, ",")
	if len(part) != 4 {
		return nil, errors.New("it is not of the form iterations,salt,storedkey,serverkey")
	}
	s = new(SCRAM)
	if s.Iterations, err = number("number of iterations", part[0], 1, maxSCRAMIterations); err != nil {
		return nil, err
	}
	for i, into := range []*[]byte{&s.Salt, &s.StoredKey, &s.ServerKey} {
		if *into, err = base64.StdEncoding.DecodeString(part[i+1]); err != nil {
			return nil, errors.New("its salt or a key is not base64")
		}
	}
	return s, nil
}

// is takes a password in both forms: Dovecot makes keys of it as it comes, others of
// what clients of SCRAM make of it.
func (s *SCRAM) is(clear string) (bool, error) {
	for _, form := range forms(clear) {
		salted, err := saltedPassword(s.Hash, form, s.Salt, s.Iterations)
		if err != nil {
			return false, err
		}
		if subtle.ConstantTimeCompare(salted.storedKey(), s.StoredKey) == 1 {
			return true, nil
		}
	}
	return false, nil
}

func forms(clear string) []string {
	if prepared := Prepared(clear); prepared != clear {
		return []string{prepared, clear}
	}
	return []string{clear}
}

// Prepared is a password as clients of SCRAM hash it: RFC 5802 §2.2 has them use
// SASLprep (RFC 4013), so that it does not matter how a keyboard writes a letter. What
// may not be in such a password is left as it comes.
func Prepared(clear string) string {
	prepared, err := stringprep.SASLprep.Prepare(clear)
	if err != nil || prepared == "" {
		return clear
	}
	return prepared
}

// NewSCRAM makes the keys of a clear password. That is slow: it is the work of so many
// iterations.
func NewSCRAM(hash, clear string, salt []byte, iterations int) (SCRAM, error) {
	salted, err := saltedPassword(hash, Prepared(clear), salt, iterations)
	if err != nil {
		return SCRAM{}, err
	}
	return SCRAM{hash, iterations, salt, salted.storedKey(), salted.serverKey()}, nil
}

// Verify decides about a client's proof over the messages of an exchange (AuthMessage of
// RFC 5802 §3), and returns the server's own proof if it is right.
func (s SCRAM) Verify(messages string, proof []byte) (own []byte, ok bool) {
	newHash := scramHashes[s.Hash]
	key := mac(newHash, s.StoredKey, messages)
	if len(proof) != len(key) {
		return nil, false
	}
	subtle.XORBytes(key, key, proof)
	h := newHash()
	h.Write(key)
	if subtle.ConstantTimeCompare(h.Sum(nil), s.StoredKey) != 1 {
		return nil, false
	}
	return mac(newHash, s.ServerKey, messages), true
}

// Prove is the client's half: its proof over the messages, and the one that a server
// must show which knows the password.
func Prove(hash, clear string, salt []byte, iterations int, messages string) (proof, server []byte, err error) {
	if iterations < 1 || iterations > maxSCRAMIterations {
		return nil, nil, fmt.Errorf("the server wants %d iterations; from 1 to %d are possible", iterations, maxSCRAMIterations)
	}
	salted, err := saltedPassword(hash, Prepared(clear), salt, iterations)
	if err != nil {
		return nil, nil, err
	}
	key := salted.clientKey()
	proof = mac(salted.newHash, salted.storedKey(), messages)
	subtle.XORBytes(proof, proof, key)
	return proof, mac(salted.newHash, salted.serverKey(), messages), nil
}

// A salted is SaltedPassword of RFC 5802 §3, of which the keys are made.
type salted struct {
	newHash func() hash.Hash
	key     []byte
}

func saltedPassword(hash, clear string, salt []byte, iterations int) (salted, error) {
	newHash := scramHashes[hash]
	key, err := pbkdf2.Key(newHash, clear, salt, iterations, newHash().Size())
	return salted{newHash, key}, err
}

func (s salted) clientKey() []byte { return mac(s.newHash, s.key, "Client Key") }
func (s salted) serverKey() []byte { return mac(s.newHash, s.key, "Server Key") }

func (s salted) storedKey() []byte {
	h := s.newHash()
	h.Write(s.clientKey())
	return h.Sum(nil)
}

func mac(newHash func() hash.Hash, key []byte, text string) []byte {
	h := hmac.New(newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func makeSCRAM(hash string) func(clear string) (string, error) {
	return func(clear string) (string, error) {
		s, err := NewSCRAM(hash, clear, []byte(random(newSalt)), SCRAMIterations)
		b64 := base64.StdEncoding.EncodeToString
		return fmt.Sprintf("%d,%s,%s,%s", s.Iterations, b64(s.Salt), b64(s.StoredKey), b64(s.ServerKey)), err
	}
}
