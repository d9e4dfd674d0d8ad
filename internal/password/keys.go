package password

// What mechanisms need that do not show the password: it, or what can be computed with
// it alone. Not every stored password gives that; a hash that is good for nothing else
// does not.

// Clear returns the clear password, if it is stored as such. It is then never empty.
func Clear(stored string) (clear string, ok bool) {
	s, err := parse(stored)
	return s.clear, err == nil && s.clear != ""
}

// HMAC returns what HMAC with the password as its key makes of a text. hash is MD5,
// SHA1 or SHA256; ok is false if the stored password does not give it.
func HMAC(stored, hash, text string) (sum []byte, ok bool) {
	switch s, err := parse(stored); {
	case err != nil || keyeds[hash].newHash == nil:
		return nil, false
	case s.clear != "":
		return newHMAC(hash, s.clear).sum(text), true
	case s.hmac != nil && s.hmac.hash == hash:
		return s.hmac.sum(text), true
	}
	return nil, false
}

// StoredSCRAM returns the keys of SCRAM that are stored. hash is SHA-1 or SHA-256; ok is
// false if there are none, or those of another hash.
func StoredSCRAM(stored, hash string) (keys SCRAM, ok bool) {
	s, err := parse(stored)
	if err != nil || s.scram == nil || s.scram.Hash != hash {
		return SCRAM{}, false
	}
	return *s.scram, true
}
