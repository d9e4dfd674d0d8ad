package password

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptCost   = 12
	maxBcryptLen = 72 // bytes that bcrypt looks at
)

// parseBcrypt reads "$2a$", "$2b$" and "$2y$", which mean the same today; "$2x$"
// marks hashes of an old bug and has to stay unreadable.
func parseBcrypt(text string) (secret, error) {
	if len(text) != 60 || text[:2] != "$2" || text[2] < 'a' || text[3] != '$' || text[6] != '$' || !isCrypt64(text[7:]) {
		return secret{}, errors.New("it is not of the form $2b$12$ and 53 characters")
	}
	if minor := text[2]; minor != 'a' && minor != 'b' && minor != 'y' {
		return secret{}, errors.New("it is none of $2a$, $2b$, $2y$")
	}
	if _, err := number("cost", text[4:6], bcrypt.MinCost, maxBcryptCost); err != nil {
		return secret{}, err
	}
	return secret{is: func(clear string) (bool, error) { return isBcrypt(text, clear) }, slow: true}, nil
}

// isBcrypt cuts long passwords off, as libxcrypt does: hashes that Dovecot made
// of them go on working.
func isBcrypt(hash, clear string) (bool, error) {
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
