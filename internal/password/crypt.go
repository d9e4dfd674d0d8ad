package password

import (
	"errors"
	"strings"
)

// parseCrypt reads what crypt(3) may have made, by its beginning: see crypt(5).
// Anything else is an error. To compare it as clear text would turn a broken or
// unknown hash into a password.
func parseCrypt(text string) (compare, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2id(text)
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$6$"):
		return parseSHA512(text)
	}
	return nil, errors.New("the password is neither a {SCHEME}hash nor a crypt(3) hash that this version reads " +
		"($argon2id$, $2b$, $6$); " + hint)
}
