// Package password checks clear passwords against stored hashes, and makes the
// hashes. A stored hash is written as in Dovecot: "{SCHEME}text"; without a
// scheme it is a crypt(3) hash, told apart by its beginning.
//
// Read Verify first, then the table in schemes.go. Each family of schemes stands
// in a file of its own, limits.go says how much work a hash may ask for, and keys.go
// what a stored password gives to mechanisms that do not show it.
package password

import (
	"errors"
	"fmt"
	"strings"
)

// Default is the scheme of new hashes.
const Default = "ARGON2ID"

// Verify reports whether clear is the password of which hash was made. An error
// means that it cannot tell: the hash cannot be read, is of an unknown scheme,
// or would take a hostile amount of work.
func Verify(hash, clear string) (bool, error) {
	s, err := parse(hash)
	if err != nil {
		return false, err
	}
	if strings.ContainsRune(clear, 0) {
		return false, nil // crypt(3) would read only what stands before it
	}
	return s.is(clear)
}

// Check reports whether Verify could work with hash, without the work.
func Check(hash string) error {
	_, err := parse(hash)
	return err
}

// Slow reports whether the hash is of a kind that is slow to check, so that many
// checks at once would take the processors from everybody else. Clear passwords,
// plain digests and what cannot be read are not.
func Slow(hash string) bool {
	s, err := parse(hash)
	return err == nil && s.slow
}

// Make hashes a clear password. The name of the scheme may be in any case.
func Make(schemeName, clear string) (string, error) {
	s, err := maker(schemeName)
	switch {
	case err != nil:
		return "", err
	case clear == "":
		return "", errors.New("an empty password would let anybody in; give one")
	case strings.ContainsAny(clear, "\x00\r\n"):
		return "", errors.New("a password with a line end or a NUL in it cannot be sent in a login; choose another")
	}
	raw, err := s.make(clear)
	if err != nil {
		return "", fmt.Errorf("hash the password with %s: %w", s.name, err)
	}
	hash := "{" + s.name + "}" + s.form.encode(raw)
	if len(hash) > maxStored {
		return "", fmt.Errorf("hash the password with %s: the result has %d bytes, more than %d; choose a shorter password", s.name, len(hash), maxStored)
	}
	return hash, nil
}

// A secret is a stored password that was read.
type secret struct {
	is   func(clear string) (bool, error)
	slow bool

	// What mechanisms can use that do not show the password; see keys.go.
	clear string
	hmac  *hmacKey
	scram *SCRAM
}

// parse finds the scheme of a stored hash and reads its text, without hashing
// anything. Its errors never quote the hash: it may be a clear password at the
// wrong place.
func parse(hash string) (secret, error) {
	if len(hash) > maxStored {
		return secret{}, fmt.Errorf("the stored password has %d bytes, more than %d; %s", len(hash), maxStored, hint)
	}
	name, text := "CRYPT", hash
	if inner, ok := strings.CutPrefix(hash, "{"); ok {
		if name, text, ok = strings.Cut(inner, "}"); !ok {
			return secret{}, errors.New(`the password begins with "{" but no "}" ends its scheme; ` + hint)
		}
	}
	name, suffix, suffixed := strings.Cut(name, ".")
	s, err := reader(name)
	if err != nil {
		return secret{}, err
	}
	raw, err := s.decode(text, suffix, suffixed)
	if err != nil {
		return secret{}, fmt.Errorf("read the {%s} password: %w", s.name, err)
	}
	read, err := s.parse(raw)
	if err != nil {
		return secret{}, fmt.Errorf("read the {%s} password: %w", s.name, err)
	}
	return read, nil
}

// hint is what to do about a password that is no hash.
const hint = `make one with "usher hash", or write {PLAIN} before a clear password`
