package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const pbkdf2Rounds = 600_000 // of new hashes: about as much work as the other defaults

// A pbkdf is a hash of Dovecot's PBKDF2, which is the one with HMAC-SHA1: RFC 8018 §5.2.
type pbkdf struct {
	salt   string
	rounds int
	key    []byte
}

// parsePBKDF2 reads "$1$salt$rounds$key". The salt is taken as it is written.
func parsePBKDF2(text string) (secret, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 || part[0] != "" || part[1] != "1" {
		return secret{}, errors.New("it is not of the form $1$salt$rounds$key")
	}
	rounds, err := number("number of rounds", part[3], 1, maxPBKDF2Rounds)
	if err != nil {
		return secret{}, err
	}
	p := pbkdf{part[2], rounds, nil}
	p.key, err = hex.DecodeString(part[4])
	switch {
	case err != nil || len(p.key) != sha1.Size:
		return secret{}, fmt.Errorf("its key is not %d bytes in hex", sha1.Size)
	case len(p.salt) > maxSalt:
		return secret{}, wrongSalt(len(p.salt))
	}
	return secret{is: p.is, slow: true}, nil
}

func (p pbkdf) is(clear string) (bool, error) {
	got, err := p.of(clear)
	return err == nil && subtle.ConstantTimeCompare(got, p.key) == 1, err
}

func (p pbkdf) of(clear string) ([]byte, error) {
	return pbkdf2.Key(sha1.New, clear, []byte(p.salt), p.rounds, sha1.Size)
}

func makePBKDF2(clear string) (string, error) {
	p := pbkdf{salt: cryptSalt(), rounds: pbkdf2Rounds}
	key, err := p.of(clear)
	return fmt.Sprintf("$1$%s$%d$%x", p.salt, p.rounds, key), err
}
