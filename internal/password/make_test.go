package password

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestMakeThenVerify(t *testing.T) {
	for _, name := range append(Makeable(), "argon2id", "ssha") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hash, err := Make(name, "pässword")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(hash, "{"+strings.ToUpper(name)+"}") {
				t.Errorf("Make(%s) = %s", name, hash)
			}
			if ok, err := Verify(hash, "pässword"); !ok || err != nil {
				t.Errorf("Verify(%s) = %v, %v", hash, ok, err)
			}
		})
	}
}

func TestTheNewHashesAreNotWeak(t *testing.T) {
	want := []string{
		"ARGON2ID", "ARGON2I", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "CRYPT", "PBKDF2",
		"SCRAM-SHA-256", "SCRAM-SHA-1", "SSHA512", "SSHA256", "SSHA", "CRAM-MD5", "PLAIN",
	}
	if got := Makeable(); !slices.Equal(got, want) || got[0] != Default {
		t.Errorf("Makeable: %v; want %v, the default first", got, want)
	}
	for _, name := range Makeable() {
		if !slices.Contains(Schemes(), name) {
			t.Errorf("%s can be made, but not read", name)
		}
	}
}

func TestSaltsDiffer(t *testing.T) {
	for _, name := range Makeable() {
		switch name {
		case "PLAIN", "CRAM-MD5":
			continue // without salt
		case "BLF-CRYPT", "CRYPT":
			continue // x/crypto draws it itself
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, _ := Make(name, "secret")
			if other, _ := Make(name, "secret"); one == "" || one == other {
				t.Errorf("twice %q of one password", one)
			}
		})
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, c := range []struct{ scheme, clear, want string }{
		{"MD5", "secret", "choose one of ARGON2ID"},
		{"DES-CRYPT", "secret", "choose one of ARGON2ID"},
		{"DIGEST-MD5", "secret", "none of ARGON2ID"},
		{"SSHA.hex", "secret", "none of ARGON2ID"},
		{Default, "", "empty"},
		{Default, "a\nb", "line end"},
		{Default, "a\x00b", "NUL"},
		{"BLF-CRYPT", strings.Repeat("x", 73), "72"},
		{"SHA512-CRYPT", strings.Repeat("x", 512), "511"},
		{"SHA256-CRYPT", strings.Repeat("x", 512), "511"},
		{"PLAIN", strings.Repeat("x", maxStored), "shorter"},
	} {
		if hash, err := Make(c.scheme, c.clear); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Make(%s, %.10q) = %q, %v; want an error with %q", c.scheme, c.clear, hash, err, c.want)
		}
	}
}

// A server proves itself to clients with a key that Verify does not look at.
func TestSCRAMKeysAreThoseOfOthers(t *testing.T) {
	for _, v := range vectors {
		name, text, _ := strings.Cut(strings.TrimPrefix(v.hash, "{"), "}")
		if !strings.HasPrefix(name, "SCRAM-") {
			continue
		}
		s, err := readSCRAM(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewSCRAM(strings.TrimPrefix(name, "SCRAM-"), v.clear, s.Salt, s.Iterations)
		if err != nil || !bytes.Equal(got.StoredKey, s.StoredKey) || !bytes.Equal(got.ServerKey, s.ServerKey) {
			t.Errorf("%s has the keys %x, %x, %v of %s", v.hash, got.StoredKey, got.ServerKey, err, v.clear)
		}
	}
}
