package policy

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
)

// A Hash says what of a password the service may know. It must be the same wherever
// guesses are counted together, as in Dovecot's auth_policy_hash_mech, _nonce and
// _truncate.
type Hash struct {
	Mech  string // sha256, sha512, sha1 or md5
	Nonce string // a secret, or the service could try passwords
	Bits  int    // that it gets; 0: all
}

var mechs = map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// Check tells whether there is such a hash, and as many bits in it.
func (h Hash) Check() error {
	mech, ok := mechs[h.Mech]
	if !ok {
		return fmt.Errorf("there is no hash %q", h.Mech)
	}
	if all := mech().Size() * 8; h.Bits < 0 || h.Bits >= all { // as Dovecot has it
		return fmt.Errorf("of the %d bits of %s, %d cannot be left", all, h.Mech, h.Bits)
	}
	return nil
}

// of hashes a password as Dovecot does (auth-policy.c): the nonce, the name, a zero
// byte, the password.
func (h Hash) of(login, password string) string {
	d := mechs[h.Mech]()
	_, _ = d.Write([]byte(h.Nonce + login + "\x00" + password))
	sum := d.Sum(nil)
	if h.Bits > 0 {
		sum = first(sum, h.Bits)
	}
	return hex.EncodeToString(sum)
}

// first is the number that the first bits make, in as few bytes as it needs: 12 bits of
// ab cd are 0a bc.
func first(b []byte, bits int) []byte {
	b = b[:(bits+7)/8]
	shift := (8 - bits%8) % 8
	for i := len(b) - 1; i > 0; i-- {
		b[i] = b[i]>>shift | b[i-1]<<(8-shift)
	}
	b[0] >>= shift
	return b
}
