package password

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

const (
	sha512Rounds    = 100_000 // about as much work as the other defaults
	maxSHA512Rounds = 2_000_000
	// libxcrypt hashes nothing longer (CRYPT_MAX_PASSPHRASE_SIZE). The work
	// grows with the length, which a stranger chooses.
	maxSHA512Len = 512
)

// parseSHA512 reads "$6$salt$key" and "$6$rounds=N$salt$key".
func parseSHA512(text string) (compare, error) {
	part := strings.Split(text, "$")
	if len(part) < 4 || len(part) > 5 || part[0] != "" || part[1] != "6" {
		return nil, errors.New("read the SHA512-CRYPT hash: it is not of the form $6$salt$key or $6$rounds=N$salt$key")
	}
	rounds, err := readRounds(part[2 : len(part)-2])
	if err != nil {
		return nil, err
	}
	salt, key := part[len(part)-2], part[len(part)-1]
	if salt == "" || len(salt) > shacrypt.SaltLengthMax || len(key) != 86 {
		return nil, fmt.Errorf("read the SHA512-CRYPT hash: a salt of %d and a key of %d characters is out of bounds", len(salt), len(key))
	}
	return func(clear string) (bool, error) { return compareSHA512(rounds, salt, key, clear) }, nil
}

func compareSHA512(rounds int, salt, key, clear string) (bool, error) {
	if len(clear) > maxSHA512Len {
		return false, nil
	}
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(rounds))
	if err != nil {
		return false, err
	}
	got, err := h.HashWithSalt(clear, []byte(salt))
	return err == nil && subtle.ConstantTimeCompare(got.Key(), []byte(key)) == 1, err
}

// readRounds reads the part "rounds=N", if there is one.
func readRounds(part []string) (int, error) {
	if len(part) == 0 {
		return shacrypt.IterationsDefaultOmitted, nil
	}
	digits, ok := strings.CutPrefix(part[0], "rounds=")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n < shacrypt.IterationsMin || n > maxSHA512Rounds {
		return 0, fmt.Errorf("read the SHA512-CRYPT hash: %.20q is not between rounds=%d and rounds=%d",
			part[0], shacrypt.IterationsMin, maxSHA512Rounds)
	}
	return int(n), nil
}

func makeSHA512(clear string) (string, error) {
	if len(clear) > maxSHA512Len {
		return "", fmt.Errorf("it has %d bytes, but crypt(3) takes %d at most; choose a shorter one", len(clear), maxSHA512Len)
	}
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(sha512Rounds))
	if err != nil {
		return "", err
	}
	d, err := h.Hash(clear)
	if err != nil {
		return "", err
	}
	return d.Encode(), nil
}
