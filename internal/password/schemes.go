package password

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
)

// A scheme is one way to store a password.
type scheme struct {
	name string
	form form // of the text, unless the name is followed by another: {SHA.hex}
	size int  // bytes of the decoded text, if all have the same

	// parse reads the decoded text. It spends no time on hashing, so that it can
	// be used to check a row.
	parse func(raw string) (secret, error)
	// make is missing where the scheme is too weak for new passwords, or only
	// another name.
	make func(clear string) (raw string, err error)
}

// schemes lists all there are, the best first. Names, forms and sizes are those
// of Dovecot, where it has the scheme.
var schemes = []scheme{
	{"ARGON2ID", asText, 0, parseArgon, makeArgon2id},
	{"ARGON2I", asText, 0, parseArgon, makeArgon2i},
	{"ARGON2", asText, 0, parseArgon, nil}, // OpenLDAP's name for both
	{"BLF-CRYPT", asText, 0, parseBcrypt, makeBcrypt},
	// Dovecot leaves these to crypt(3), which reads any of them under each name.
	{"SHA512-CRYPT", asText, 0, parseCrypt, makeSHA512Crypt},
	{"SHA256-CRYPT", asText, 0, parseCrypt, makeSHA256Crypt},
	{"CRYPT", asText, 0, parseCrypt, makeBcrypt}, // Dovecot too makes bcrypt of CRYPT
	{"DES-CRYPT", asText, 0, parseCrypt, nil},
	{"MD5-CRYPT", asText, 0, parseMD5Crypt, nil},
	{"PBKDF2", asText, 0, parsePBKDF2, makePBKDF2},
	{"SCRAM-SHA-256", asText, 0, parseSCRAM("SHA-256"), makeSCRAM("SHA-256")},
	{"SCRAM-SHA-1", asText, 0, parseSCRAM("SHA-1"), makeSCRAM("SHA-1")},

	{"SSHA512", asBase64, 0, parseSalted(sha512.New), makeSalted(sha512.New)},
	{"SSHA256", asBase64, 0, parseSalted(sha256.New), makeSalted(sha256.New)},
	{"SSHA", asBase64, 0, parseSalted(sha1.New), makeSalted(sha1.New)},
	{"SMD5", asBase64, 0, parseSalted(md5.New), nil},
	{"SHA512", asBase64, sha512.Size, parseDigest(sha512.New), nil},
	{"SHA256", asBase64, sha256.Size, parseDigest(sha256.New), nil},
	{"SHA1", asBase64, sha1.Size, parseDigest(sha1.New), nil},
	{"SHA", asBase64, sha1.Size, parseDigest(sha1.New), nil},
	{"PLAIN-MD5", asHex, md5.Size, parseDigest(md5.New), nil},
	{"LDAP-MD5", asBase64, md5.Size, parseDigest(md5.New), nil},
	{"MD5RAW", asHex, md5.Size, parseDigest(md5.New), nil}, // Courier's PLAIN-MD5
	{"MD5", asText, 0, parseMD5, nil},

	{"CRAM-MD5", asHex, 2 * md5.Size, parseHMAC("MD5"), makeCRAM},
	{"HMAC-MD5", asHex, 2 * md5.Size, parseHMAC("MD5"), nil},
	{"HMAC-SHA1", asHex, 2 * sha1.Size, parseHMAC("SHA1"), nil}, // these two are only in Courier's userdb, without a scheme
	{"HMAC-SHA256", asHex, 2 * sha256.Size, parseHMAC("SHA256"), nil},
	{"PLAIN", asText, 0, parsePlain, makePlain},
	{"CLEAR", asText, 0, parsePlain, nil},
	{"CLEARTEXT", asText, 0, parsePlain, nil},
}

// Schemes returns the names of all schemes that can be read.
func Schemes() []string {
	var names []string
	for _, s := range schemes {
		names = append(names, s.name)
	}
	return names
}

// Makeable returns the names of the schemes that Make knows.
func Makeable() []string {
	var names []string
	for _, s := range schemes {
		if s.make != nil {
			names = append(names, s.name)
		}
	}
	return names
}

// reader finds the scheme of a stored hash. It does not quote an unknown name,
// for the same reason as parse.
func reader(name string) (*scheme, error) {
	if s := find(name); s != nil {
		return s, nil
	}
	if strings.EqualFold(name, "DIGEST-MD5") {
		return nil, errors.New("a {DIGEST-MD5} password is hashed together with a name and a realm, which are not known here; " + hint)
	}
	return nil, fmt.Errorf("the password's scheme is none of %s; %s", strings.Join(Schemes(), ", "), hint)
}

// maker finds the scheme of a new hash.
func maker(name string) (*scheme, error) {
	s := find(name)
	switch {
	case s == nil:
		return nil, fmt.Errorf("the scheme of a new password is none of %s", strings.Join(Makeable(), ", "))
	case s.make == nil:
		return nil, fmt.Errorf("no new passwords are stored as %s; choose one of %s", s.name, strings.Join(Makeable(), ", "))
	}
	return s, nil
}

func find(name string) *scheme {
	for i := range schemes {
		if strings.EqualFold(schemes[i].name, name) {
			return &schemes[i]
		}
	}
	return nil
}
