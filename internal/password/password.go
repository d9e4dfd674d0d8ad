// Package password checks clear passwords against stored hashes, and makes the
// hashes. A stored hash is written as in Dovecot: "{SCHEME}text"; without a
// scheme it is a crypt(3) hash, told apart by its "$…$" beginning.
//
// Read Verify first. Each scheme stands in a file of its own.
package password

import (
	"errors"
	"fmt"
	"strings"
)

// Default is the scheme of new hashes.
const Default = "ARGON2ID"

// A scheme is one way to store a password.
type scheme struct {
	name string
	// parse reads the text after "{SCHEME}" and returns its comparison. It
	// spends no time on hashing, so that it can be used to check a row.
	parse func(text string) (compare, error)
	make  func(clear string) (text string, err error)
}

// A compare says whether the clear password is the stored one.
type compare func(clear string) (bool, error)

// schemes lists all there are.
var schemes = []scheme{
	{"ARGON2ID", parseArgon2id, makeArgon2id},
	{"BLF-CRYPT", parseBcrypt, makeBcrypt},
	{"SHA512-CRYPT", parseSHA512, makeSHA512},
	{"CRYPT", parseCrypt, makeBcrypt}, // Dovecot too makes bcrypt of CRYPT
	{"PLAIN", parsePlain, makePlain},
}

// Schemes returns the names of all schemes.
func Schemes() []string {
	var names []string
	for _, s := range schemes {
		names = append(names, s.name)
	}
	return names
}

// Verify reports whether clear is the password of which hash was made. An error
// means that it cannot tell: the hash cannot be read, is of an unknown scheme,
// or would take a hostile amount of work.
func Verify(hash, clear string) (bool, error) {
	same, err := parse(hash)
	if err != nil {
		return false, err
	}
	if strings.ContainsRune(clear, 0) {
		return false, nil // crypt(3) would read only what stands before it
	}
	return same(clear)
}

// Check reports whether Verify could work with hash, without the work.
func Check(hash string) error {
	_, err := parse(hash)
	return err
}

// Make hashes a clear password. The name of the scheme may be in any case.
func Make(schemeName, clear string) (string, error) {
	s, err := find(schemeName)
	switch {
	case err != nil:
		return "", err
	case clear == "":
		return "", errors.New("an empty password would let anybody in; give one")
	case strings.ContainsAny(clear, "\x00\r\n"):
		return "", errors.New("a password with a line end or a NUL in it cannot be sent in a login; choose another")
	}
	text, err := s.make(clear)
	if err != nil {
		return "", fmt.Errorf("hash the password with %s: %w", s.name, err)
	}
	return "{" + s.name + "}" + text, nil
}

// parse finds the scheme of a stored hash. Its errors never quote the hash: it
// may be a clear password at the wrong place.
func parse(hash string) (compare, error) {
	name, text := "CRYPT", hash
	if inner, ok := strings.CutPrefix(hash, "{"); ok {
		if name, text, ok = strings.Cut(inner, "}"); !ok {
			return nil, errors.New(`the password begins with "{" but no "}" ends its scheme; ` + hint)
		}
	}
	s, err := find(name)
	if err != nil {
		return nil, err
	}
	return s.parse(text)
}

// hint is what to do about a password that is no hash.
const hint = `make one with "usher hash", or write {PLAIN} before a clear password`

// find does not quote an unknown name, for the same reason as parse.
func find(name string) (scheme, error) {
	for _, s := range schemes {
		if strings.EqualFold(s.name, name) {
			return s, nil
		}
	}
	return scheme{}, fmt.Errorf("the password's scheme is none of %s; %s", strings.Join(Schemes(), ", "), hint)
}
