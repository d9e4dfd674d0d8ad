package password

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// An argon is one Argon2i or Argon2id hash: RFC 9106 §3.1.
type argon struct {
	kind                  string // "argon2id"
	memory, time, threads int    // memory in KiB
	salt, key             []byte
}

func makeArgon2id(clear string) (string, error) {
	return makeArgon(argon{kind: "argon2id", memory: 19 << 10, time: 2, threads: 1}, clear) // the first that OWASP recommends
}

func makeArgon2i(clear string) (string, error) {
	return makeArgon(argon{kind: "argon2i", memory: 32 << 10, time: 4, threads: 1}, clear) // libsodium's for logins
}

func makeArgon(a argon, clear string) (string, error) {
	a.salt, a.key = []byte(random(newSalt)), make([]byte, 32)
	a.key = a.of(clear)
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", a.kind, argon2.Version, a.memory, a.time, a.threads,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.key)), nil
}

// parseArgon reads "$argon2id$v=19$m=…,t=…,p=…$salt$key", the form that libsodium
// and the reference implementation write; its parts have one order only.
func parseArgon(text string) (secret, error) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" && part[1] != "argon2i" || part[2] != "v=19" {
		return secret{}, errors.New("it is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$key")
	}
	a := &argon{kind: part[1]}
	if err := a.readCosts(part[3]); err != nil {
		return secret{}, err
	}
	var errSalt, errKey error
	a.salt, errSalt = base64.RawStdEncoding.Strict().DecodeString(part[4])
	a.key, errKey = base64.RawStdEncoding.Strict().DecodeString(part[5])
	switch {
	case errSalt != nil || errKey != nil:
		return secret{}, errors.New("its salt or key is not base64 without padding")
	case len(a.salt) < 8 || len(a.salt) > maxSalt: // RFC 9106 §3.1
		return secret{}, wrongSalt(len(a.salt))
	case len(a.key) < 16 || len(a.key) > 128 || len(a.key)%4 != 0: // from others something is missing
		return secret{}, fmt.Errorf("its key of %d bytes is damaged", len(a.key))
	}
	return secret{is: a.is, slow: true}, nil
}

func (a *argon) readCosts(text string) (err error) {
	m, rest, _ := strings.Cut(text, ",")
	t, p, _ := strings.Cut(rest, ",")
	for _, cost := range []struct {
		name, text string
		most       int
		into       *int
	}{{"m=", m, maxArgonMemory, &a.memory}, {"t=", t, maxArgonTime, &a.time}, {"p=", p, maxArgonThreads, &a.threads}} {
		digits, ok := strings.CutPrefix(cost.text, cost.name)
		if !ok {
			return errors.New("its costs are not of the form m=…,t=…,p=…")
		}
		if *cost.into, err = number("cost "+cost.name[:1], digits, 1, cost.most); err != nil {
			return err
		}
	}
	switch {
	case a.memory < 8*a.threads: // RFC 9106 §3.1
		return fmt.Errorf("m=%d is less than 8 times p=%d", a.memory, a.threads)
	case a.memory*a.time > maxArgonWork:
		return fmt.Errorf("m=%d times t=%d is more than %d", a.memory, a.time, maxArgonWork)
	}
	return nil
}

func (a *argon) is(clear string) (bool, error) {
	return subtle.ConstantTimeCompare(a.of(clear), a.key) == 1, nil
}

func (a *argon) of(clear string) []byte {
	derive := argon2.IDKey
	if a.kind == "argon2i" {
		derive = argon2.Key
	}
	return derive([]byte(clear), a.salt, uint32(a.time), uint32(a.memory), uint8(a.threads), uint32(len(a.key)))
}
