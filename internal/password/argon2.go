package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Limits of what a stored hash may ask for. Whoever can write a row must not be
// able to stop the machine with it.
const (
	maxArgonMemory  = 1 << 20 // KiB: 1 GiB
	maxArgonTime    = 64
	maxArgonThreads = 64
)

// argon are the parameters of one Argon2id hash: RFC 9106 §3.1.
type argon struct {
	memory, time, threads uint32 // memory in KiB
	salt, key             []byte
}

func parseArgon2id(text string) (compare, error) {
	a, err := readArgon(text)
	if err != nil {
		return nil, fmt.Errorf("read the Argon2id hash: %w", err)
	}
	return func(clear string) (bool, error) {
		return subtle.ConstantTimeCompare(a.hash(clear), a.key) == 1, nil
	}, nil
}

// makeArgon2id takes the first of the parameters that OWASP recommends.
func makeArgon2id(clear string) (string, error) {
	a := argon{memory: 19456, time: 2, threads: 1, salt: make([]byte, 16), key: make([]byte, 32)}
	if _, err := rand.Read(a.salt); err != nil {
		return "", err
	}
	a.key = a.hash(clear)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", a.memory, a.time, a.threads,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.key)), nil
}

func (a *argon) hash(clear string) []byte {
	return argon2.IDKey([]byte(clear), a.salt, a.time, a.memory, uint8(a.threads), uint32(len(a.key)))
}

// readArgon reads "$argon2id$v=19$m=…,t=…,p=…$salt$key", the form that libsodium
// and the reference implementation write; its parts have one order only.
func readArgon(text string) (*argon, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v=19" {
		return nil, errors.New("it is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$key")
	}
	a := new(argon)
	if err := a.readCosts(part[3]); err != nil {
		return nil, err
	}
	var errSalt, errKey error
	a.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(part[4])
	a.key, errKey = base64.RawStdEncoding.Strict().DecodeString(part[5])
	switch {
	case errSalt != nil || errKey != nil:
		return nil, errors.New("its salt or key is not base64 without padding")
	case len(a.salt) < 8 || len(a.salt) > 64 || len(a.key) < 16 || len(a.key) > 128:
		return nil, fmt.Errorf("a salt of %d and a key of %d bytes is out of bounds", len(a.salt), len(a.key))
	}
	return a, nil
}

func (a *argon) readCosts(text string) error {
	part := strings.Split(text, ",")
	if len(part) != 3 {
		return errors.New("its costs are not of the form m=…,t=…,p=…")
	}
	for i, want := range []struct {
		name string
		into *uint32
		max  uint64
	}{{"m=", &a.memory, maxArgonMemory}, {"t=", &a.time, maxArgonTime}, {"p=", &a.threads, maxArgonThreads}} {
		digits, ok := strings.CutPrefix(part[i], want.name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n == 0 || n > want.max {
			return fmt.Errorf("its cost %.20q is not between %s1 and %s%d", part[i], want.name, want.name, want.max)
		}
		*want.into = uint32(n)
	}
	if a.memory < 8*a.threads { // RFC 9106 §3.1
		return fmt.Errorf("m=%d is less than 8 times p=%d", a.memory, a.threads)
	}
	return nil
}
