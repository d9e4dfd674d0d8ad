package password

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptCost    = 12
	maxBcryptCost = 16 // some seconds; each step doubles it
	maxBcryptLen  = 72 // bytes that bcrypt looks at
)

// parseBcrypt reads "$2a$", "$2b$" and "$2y$", which mean the same today; "$2x$"
// marks hashes of an old bug and has to stay unreadable.
func parseBcrypt(text string) (compare, error) {
	if len(text) != 60 || text[:2] != "$2" || text[2] < 'a' || text[3] != '$' || text[6] != '$' {
		return nil, errors.New("read the bcrypt hash: it is not of the form $2b$12$ and 53 characters")
	}
	if minor := text[2]; minor != 'a' && minor != 'b' && minor != 'y' {
		return nil, fmt.Errorf("read the bcrypt hash: $2%c$ is none of $2a$, $2b$, $2y$", minor)
	}
	cost, err := strconv.Atoi(text[4:6])
	if err != nil || cost < bcrypt.MinCost || cost > maxBcryptCost {
		return nil, fmt.Errorf("read the bcrypt hash: its cost %q is not between %d and %d", text[4:6], bcrypt.MinCost, maxBcryptCost)
	}
	for _, c := range []byte(text[7:]) {
		if !isCrypt64(c) {
			return nil, errors.New("read the bcrypt hash: there are characters in it that bcrypt does not use")
		}
	}
	return func(clear string) (bool, error) { return compareBcrypt(text, clear) }, nil
}

// compareBcrypt cuts long passwords off, as libxcrypt does: hashes that Dovecot
// made of them go on working.
func compareBcrypt(hash, clear string) (bool, error) {
	if len(clear) > maxBcryptLen {
		clear = clear[:maxBcryptLen]
	}
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(clear))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

// makeBcrypt refuses long passwords: what stands behind the 72nd byte would
// protect nothing.
func makeBcrypt(clear string) (string, error) {
	if len(clear) > maxBcryptLen {
		return "", fmt.Errorf("it has %d bytes, but bcrypt looks at %d only; choose a shorter one or %s", len(clear), maxBcryptLen, Default)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(clear), bcryptCost)
	return string(hash), err
}

// isCrypt64 reports whether c may stand in the salts and keys of crypt(3).
func isCrypt64(c byte) bool {
	return c == '.' || c == '/' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
