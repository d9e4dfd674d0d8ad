package password

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/x/yescrypt"
)

// yescryptKey is how long the keys of crypt(3) are, in bytes.
const yescryptKey = 32

// A yescryptHash is of the one kind that crypt(3) makes: p = 1, t = 0, no ROM.
type yescryptHash struct {
	logN, r   int
	salt, key []byte
}

// parseYescrypt reads "$y$costs$salt$key".
func parseYescrypt(text string) (secret, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return secret{}, errors.New("it is not of the form $y$costs$salt$key")
	}
	_, logN, r, err := yescrypt.DecodeSetting([]byte(part[2]))
	y := yescryptHash{logN, r, yescrypt.Decode64([]byte(part[3])), yescrypt.Decode64([]byte(part[4]))}
	switch {
	case err != nil:
		return secret{}, errors.New("its costs are not of the form that crypt(3) makes")
	case logN < minYescryptLogN || logN > maxYescryptLogN || r > maxYescryptR || r<<logN > maxYescryptNR:
		return secret{}, fmt.Errorf("its costs N=2^%d, r=%d are not from N=2^%d, r=1 to 128·N·r=128 MiB", logN, r, minYescryptLogN)
	case len(y.salt) == 0 || len(y.salt) > maxSalt:
		return secret{}, wrongSalt(len(y.salt))
	case len(y.key) != yescryptKey:
		return secret{}, errors.New("its key is damaged")
	}
	return secret{is: y.is, slow: true}, nil
}

func (y yescryptHash) is(clear string) (bool, error) {
	got, err := yescrypt.Key([]byte(clear), y.salt, 1<<y.logN, y.r, 1, yescryptKey)
	return err == nil && subtle.ConstantTimeCompare(got, y.key) == 1, err
}
