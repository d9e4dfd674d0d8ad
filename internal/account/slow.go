package account

import (
	"slices"
	"strings"
)

// slowHashes are those hashes of a proof that are salted and slow, so that they may
// stand in a file.
func slowHashes(p Proof) (list []string) {
	h, _ := p.(Hashed)
	for _, hash := range h.Hashes {
		if slow(hash) {
			list = append(list, hash)
		}
	}
	return list
}

// isSlow tells whether all that a proof decides by may stand in a file.
func isSlow(p Proof) bool {
	h, is := p.(Hashed)
	return is && len(slowHashes(h)) == len(h.Hashes)
}

// slow tells whether a hash, as package password reads it, is salted and slow. Of
// what it does not know it says no.
func slow(hash string) bool {
	scheme, text := "CRYPT", hash
	if inner, ok := strings.CutPrefix(hash, "{"); ok {
		scheme, text, _ = strings.Cut(inner, "}")
	}
	known := slices.Contains([]string{"CRYPT", "ARGON2ID", "ARGON2I", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT"}, strings.ToUpper(scheme))
	return known && slices.ContainsFunc([]string{"$2", "$5$", "$6$", "$7$", "$y$", "$argon2"}, func(s string) bool { return strings.HasPrefix(text, s) })
}
