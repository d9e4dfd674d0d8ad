package password

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// scramIterations is for new hashes. Each client does this work with each login,
// slow telephones too; RFC 7677 §4 asks for 4096 at least.
const scramIterations = 10_000

// A scram is what a server keeps for SCRAM: RFC 5802 §3. Like Dovecot it takes
// the password as it comes, without SASLprep.
type scram struct {
	newHash              func() hash.Hash
	iterations           int
	salt                 []byte
	storedKey, serverKey []byte
}

// parseSCRAM reads "iterations,salt,storedkey,serverkey".
func parseSCRAM(newHash func() hash.Hash) func(text string) (secret, error) {
	size := newHash().Size()
	return func(text string) (secret, error) {
		s, err := readSCRAM(text)
		switch {
		case err != nil:
			return secret{}, err
		case len(s.salt) == 0 || len(s.salt) > maxSalt:
			return secret{}, wrongSalt(len(s.salt))
		case len(s.storedKey) != size || len(s.serverKey) != size:
			return secret{}, fmt.Errorf("its keys have %d and %d bytes, not %d", len(s.storedKey), len(s.serverKey), size)
		}
		s.newHash = newHash
		return secret{is: s.is, slow: true}, nil
	}
}

func readSCRAM(text string) (s *scram, err error) {
	part := strings.Split(text, ",")
	if len(part) != 4 {
		return nil, errors.New("it is not of the form iterations,salt,storedkey,serverkey")
	}
	s = new(scram)
	if s.iterations, err = number("number of iterations", part[0], 1, maxSCRAMIterations); err != nil {
		return nil, err
	}
	for i, into := range []*[]byte{&s.salt, &s.storedKey, &s.serverKey} {
		if *into, err = base64.StdEncoding.DecodeString(part[i+1]); err != nil {
			return nil, errors.New("its salt or a key is not base64")
		}
	}
	return s, nil
}

func (s *scram) is(clear string) (bool, error) {
	stored, _, err := s.keys(clear)
	return err == nil && subtle.ConstantTimeCompare(stored, s.storedKey) == 1, err
}

// keys computes StoredKey and ServerKey of a clear password: RFC 5802 §3.
func (s *scram) keys(clear string) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(s.newHash, clear, s.salt, s.iterations, s.newHash().Size())
	if err != nil {
		return nil, nil, err
	}
	h := s.newHash()
	h.Write(s.hmac(salted, "Client Key"))
	return h.Sum(nil), s.hmac(salted, "Server Key"), nil
}

func (s *scram) hmac(key []byte, text string) []byte {
	h := hmac.New(s.newHash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func makeSCRAM(newHash func() hash.Hash) func(clear string) (string, error) {
	return func(clear string) (_ string, err error) {
		s := scram{newHash: newHash, iterations: scramIterations, salt: []byte(random(newSalt))}
		s.storedKey, s.serverKey, err = s.keys(clear)
		b64 := base64.StdEncoding.EncodeToString
		return fmt.Sprintf("%d,%s,%s,%s", s.iterations, b64(s.salt), b64(s.storedKey), b64(s.serverKey)), err
	}
}
