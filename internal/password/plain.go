package password

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// parsePlain reads a clear password. Both sides are hashed before they are
// compared, so that the time does not tell the length either.
func parsePlain(text string) (compare, error) {
	if text == "" {
		return nil, errors.New("{PLAIN} stands before an empty password, which would let anybody in; write one behind it")
	}
	want := sha256.Sum256([]byte(text))
	return func(clear string) (bool, error) {
		got := sha256.Sum256([]byte(clear))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1, nil
	}, nil
}

func makePlain(clear string) (string, error) { return clear, nil }
