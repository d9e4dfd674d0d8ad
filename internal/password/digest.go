package password

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// newSalt is how much salt new hashes get, in bytes, unless a standard says so.
const newSalt = 16

// A digest is a hash of the password and, behind it, the salt: RFC 2307 §5.3 has
// the plain ones, OpenLDAP began with the salted.
type digest struct {
	newHash   func() hash.Hash
	sum, salt string
}

// parseDigest reads sums without salt. Their size was looked at before.
func parseDigest(newHash func() hash.Hash) func(raw string) (secret, error) {
	return func(raw string) (secret, error) {
		return secret{is: digest{newHash, raw, ""}.is}, nil
	}
}

// parseSalted reads sums with the salt behind them.
func parseSalted(newHash func() hash.Hash) func(raw string) (secret, error) {
	size := newHash().Size()
	return func(raw string) (secret, error) {
		switch {
		case len(raw) <= size:
			return secret{}, fmt.Errorf("%d bytes are too few for a sum of %d and a salt", len(raw), size)
		case len(raw) > size+maxSalt:
			return secret{}, wrongSalt(len(raw) - size)
		}
		return secret{is: digest{newHash, raw[:size], raw[size:]}.is}, nil
	}
}

func makeSalted(newHash func() hash.Hash) func(clear string) (string, error) {
	return func(clear string) (string, error) {
		salt := random(newSalt)
		return string(digest{newHash, "", salt}.of(clear)) + salt, nil
	}
}

// parseMD5 reads what is called MD5: in Dovecot it is MD5-CRYPT or a sum in hex,
// in Courier and RFC 2307 a sum in base64.
func parseMD5(text string) (secret, error) {
	if strings.HasPrefix(text, "$1$") {
		return parseMD5Crypt(text)
	}
	sum, err := decodeSized(text, md5.Size)
	if err != nil {
		return secret{}, errors.New("it is neither MD5-CRYPT nor an MD5 sum in hex or base64")
	}
	return secret{is: digest{md5.New, sum, ""}.is}, nil
}

func (d digest) is(clear string) (bool, error) {
	return subtle.ConstantTimeCompare(d.of(clear), []byte(d.sum)) == 1, nil
}

func (d digest) of(clear string) []byte {
	h := d.newHash()
	h.Write([]byte(clear))
	h.Write([]byte(d.salt))
	return h.Sum(nil)
}

// random draws bytes; crypto/rand never fails.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return string(b)
}
