package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// crypt64 are the digits of crypt(3).
const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// parseCrypt reads what crypt(3) may have made, by its beginning: see crypt(5).
// Anything else is an error. To compare it as clear text would turn a broken or
// unknown hash into a password.
func parseCrypt(text string) (secret, error) {
	switch {
	case strings.HasPrefix(text, "$1$"):
		return parseMD5Crypt(text)
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$5$"), strings.HasPrefix(text, "$6$"):
		return parseSHACrypt(text)
	case strings.HasPrefix(text, "$y$"):
		return parseYescrypt(text)
	case strings.HasPrefix(text, "$argon2"): // not in crypt(3), but as clear
		return parseArgon(text)
	case isDES(text):
		return secret{is: desHash(text).is, slow: true}, nil
	}
	return secret{}, errors.New("it is none of the crypt(3) hashes that can be read " +
		"($y$, $argon2id$, $argon2i$, $2b$, $6$, $5$, $1$, DES), and no scheme such as {SSHA} stands before it; " + hint)
}

// isCrypt64 reports whether all of text may stand in the keys of crypt(3).
func isCrypt64(text string) bool {
	return strings.Trim(text, crypt64) == ""
}

// cryptSalt draws 16 digits of salt, the most that SHA-crypt reads.
func cryptSalt() string {
	return base64.NewEncoding(crypt64).EncodeToString([]byte(random(12)))
}

func wrongSalt(size int) error {
	return fmt.Errorf("a salt of %d bytes is out of bounds", size)
}

// tooLong is the error about a new password that crypt(3) could not check.
func tooLong(clear string, most int) error {
	return fmt.Errorf("it has %d bytes, but crypt(3) takes %d at most; choose a shorter one or %s", len(clear), most, Default)
}
