package password

import (
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/go-crypt/x/crypt"
)

// parseMD5Crypt reads "$1$salt$key". Its thousand rounds are little today, but
// hundreds of times the work of a plain digest.
func parseMD5Crypt(text string) (secret, error) {
	rest, ok := strings.CutPrefix(text, "$1$")
	salt, key, cut := strings.Cut(rest, "$")
	switch {
	case !ok || !cut || len(key) != 22 || !isCrypt64(key):
		return secret{}, errors.New("it is not of the form $1$salt$ and 22 characters")
	case len(salt) > 8:
		return secret{}, wrongSalt(len(salt))
	}
	return secret{is: func(clear string) (bool, error) { return isMD5Crypt(salt, key, clear), nil }, slow: true}, nil
}

func isMD5Crypt(salt, key, clear string) bool {
	if len(clear) > maxCryptLen {
		return false
	}
	return subtle.ConstantTimeCompare(crypt.KeyMD5Crypt([]byte(clear), []byte(salt)), []byte(key)) == 1
}
