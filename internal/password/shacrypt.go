package password

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"
	"strings"

	"github.com/go-crypt/x/crypt"
)

const (
	shaCryptRounds    = 100_000 // of new hashes: about as much work as the other defaults
	shaCryptOldRounds = 5000    // where a hash does not say
	shaCryptSalt      = 16
)

// A shaCrypt is a hash by https://www.akkadia.org/drepper/SHA-crypt.txt.
type shaCrypt struct {
	newHash   func() hash.Hash
	rounds    int
	salt, key string
}

// parseSHACrypt reads "$5$salt$key", "$5$rounds=N$salt$key" and the same with 6.
func parseSHACrypt(text string) (_ secret, err error) {
	s, size := shaCrypt{newHash: sha256.New, rounds: shaCryptOldRounds}, 43
	if text[1] == '6' {
		s.newHash, size = sha512.New, 86
	}
	rest := text[len("$5$"):]
	if costs, ok := strings.CutPrefix(rest, "rounds="); ok {
		var digits string
		digits, rest, _ = strings.Cut(costs, "$")
		if s.rounds, err = number("number of rounds", digits, minSHACryptRounds, maxSHACryptRounds); err != nil {
			return secret{}, err
		}
	}
	s.salt, s.key, _ = strings.Cut(rest, "$")
	switch {
	case len(s.key) != size || !isCrypt64(s.key):
		return secret{}, fmt.Errorf("it is not of the form $%c$rounds=N$salt$ and %d characters", text[1], size)
	case len(s.salt) > shaCryptSalt:
		return secret{}, wrongSalt(len(s.salt))
	}
	return secret{is: s.is, slow: true}, nil
}

func (s shaCrypt) is(clear string) (bool, error) {
	if len(clear) > maxCryptLen {
		return false, nil
	}
	return subtle.ConstantTimeCompare(s.of(clear), []byte(s.key)) == 1, nil
}

func (s shaCrypt) of(clear string) []byte {
	return crypt.KeySHACrypt(s.newHash, []byte(clear), []byte(s.salt), s.rounds)
}

func makeSHA256Crypt(clear string) (string, error) { return makeSHACrypt("$5$", sha256.New, clear) }
func makeSHA512Crypt(clear string) (string, error) { return makeSHACrypt("$6$", sha512.New, clear) }

func makeSHACrypt(kind string, newHash func() hash.Hash, clear string) (string, error) {
	if len(clear) > maxCryptLen {
		return "", tooLong(clear, maxCryptLen)
	}
	s := shaCrypt{newHash: newHash, rounds: shaCryptRounds, salt: cryptSalt()}
	return fmt.Sprintf("%srounds=%d$%s$%s", kind, s.rounds, s.salt, s.of(clear)), nil
}
