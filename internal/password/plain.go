package password

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
)

// parsePlain reads a clear password.
func parsePlain(text string) (secret, error) {
	switch {
	case text == "":
		return secret{}, errors.New("it is empty, which would let anybody in; write one behind the scheme")
	case strings.ContainsRune(text, 0):
		return secret{}, errors.New("there is a NUL in it, which no login can send")
	}
	return secret{is: func(clear string) (bool, error) { return samePlain(clear, text), nil }, clear: text}, nil
}

// samePlain hashes both sides before they are compared, so that the time does
// not tell the length either.
func samePlain(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func makePlain(clear string) (string, error) { return clear, nil }
