package password

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
	"testing"
)

func TestClearPasswordsAreKnownAsSuch(t *testing.T) {
	for stored, want := range map[string]string{
		"{PLAIN}secret": "secret", "{CLEAR}secret": "secret", "{cleartext}secret": "secret", "{PLAIN.b64}c2VjcmV0": "secret",
		"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=": "", "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56": "", "secret": "", "{PLAIN}": "",
	} {
		if clear, ok := Clear(stored); clear != want || ok != (want != "") {
			t.Errorf("Clear(%s) = %q, %v; want %q", stored, clear, ok, want)
		}
	}
}

// RFC 2195 §2.
func TestTheExampleOfCRAM(t *testing.T) {
	const challenge, want = "<1896.697170952@postoffice.reston.mci.net>", "b913a602c7eda7a495b4e6e7334d3890"
	for _, stored := range []string{
		"{PLAIN}tanstaaftanstaaf", "{HMAC-MD5}d06d4e1b26fccaa4b0b61801132340a354b21152711fb604ca3e035e7015116b",
	} {
		if sum, ok := HMAC(stored, "MD5", challenge); !ok || hex.EncodeToString(sum) != want {
			t.Errorf("of %s: %x, %v", stored, sum, ok)
		}
	}
}

// States are gone on with as the hash itself would have gone on.
func TestStatesOfHMACAreAsGoodAsThePassword(t *testing.T) {
	for name, newHash := range map[string]func() hash.Hash{"MD5": md5.New, "SHA1": sha1.New, "SHA256": sha256.New} {
		for _, clear := range []string{"x", "secret", strings.Repeat("s", 64), strings.Repeat("s", 65), strings.Repeat("s", 300)} {
			k := newHMAC(name, clear)
			stored := "{HMAC-" + name + "}" + hex.EncodeToString([]byte(k.outer+k.inner))
			for _, text := range []string{"", "<1@x>", strings.Repeat("c", 64), strings.Repeat("c", 1000)} {
				h := hmac.New(newHash, []byte(clear))
				h.Write([]byte(text))
				for _, s := range []string{stored, "{PLAIN}" + clear} {
					if sum, ok := HMAC(s, name, text); !ok || !hmac.Equal(sum, h.Sum(nil)) {
						t.Errorf("%s, %d bytes, %d bytes: %x, %v", name, len(clear), len(text), sum, ok)
					}
				}
			}
		}
	}
}

func TestOtherHashesAnswerNoChallenges(t *testing.T) {
	for _, stored := range []string{
		"", "secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{HMAC-SHA1}72724befb173b1ee5f79c09801b9b15e11d805fe02b49c1d1d00921723b52bcb862c04fa52876446",
		"{SCRAM-SHA-1}4096,2DhRucGofQACqBBXRk4LIQ==,IetJmAEb8dhEbjELu5YZbaXNmYA=,f+T+YKLng5o72ouyk4cSvKOzMCc=",
	} {
		if sum, ok := HMAC(stored, "MD5", "<1@x>"); ok {
			t.Errorf("HMAC(%s) = %x", stored, sum)
		}
		if keys, ok := StoredSCRAM(stored, "SHA-256"); ok {
			t.Errorf("StoredSCRAM(%s) = %+v", stored, keys)
		}
	}
	if _, ok := HMAC("{PLAIN}secret", "SHA512", "<1@x>"); ok {
		t.Error("HMAC with a hash that nobody uses")
	}
}

// The messages of RFC 5802 §5 and RFC 7677 §3.
var scramExamples = []struct {
	hash, salt, messages, proof, server string
}{
	{
		"SHA-1", "QSXCR+Q6sek8bf92",
		"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
		"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		"SHA-256", "W22ZaJ0SNY7soEsUEjb6gQ==",
		"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

func TestTheExamplesOfSCRAM(t *testing.T) {
	b64 := base64.StdEncoding
	for _, x := range scramExamples {
		salt, _ := b64.DecodeString(x.salt)
		proof, server, err := Prove(x.hash, "pencil", salt, 4096, x.messages)
		if err != nil || b64.EncodeToString(proof) != x.proof || b64.EncodeToString(server) != x.server {
			t.Errorf("%s: the client proves %x, %x, %v", x.hash, proof, server, err)
		}
		keys, err := NewSCRAM(x.hash, "pencil", salt, 4096)
		if own, ok := keys.Verify(x.messages, proof); err != nil || !ok || b64.EncodeToString(own) != x.server {
			t.Errorf("%s: the server says %v, and proves %x, %v", x.hash, ok, own, err)
		}
		for _, wrong := range [][]byte{nil, {}, proof[1:], append([]byte{1}, proof[1:]...), append(proof, 1), make([]byte, len(proof))} {
			if own, ok := keys.Verify(x.messages, wrong); ok || own != nil {
				t.Errorf("%s: the proof %x is taken", x.hash, wrong)
			}
		}
		if _, ok := keys.Verify(x.messages+",", proof); ok {
			t.Errorf("%s: a proof of other messages is taken", x.hash)
		}
	}
}

// RFC 4013 §3 has the first ones.
func TestItDoesNotMatterHowAKeyboardWritesALetter(t *testing.T) {
	for clear, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "gru\u0308\u00dfe": "gr\u00fc\u00dfe",
		"a\u00a0b": "a b", "\u0007": "\u0007", "\xff": "\xff", "\u00ad": "\u00ad", "\U0001f600": "\U0001f600",
	} {
		if got := Prepared(clear); got != want {
			t.Errorf("Prepared(%q) = %q, want %q", clear, got, want)
		}
	}
	made, err := Make("SCRAM-SHA-256", "gru\u0308\u00dfe")
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{"gru\u0308\u00dfe", "gr\u00fc\u00dfe"} {
		if ok, err := Verify(made, clear); !ok || err != nil {
			t.Errorf("Verify(%q) = %v, %v", clear, ok, err)
		}
	}
}

func TestAServerCannotMakeAClientWorkForEver(t *testing.T) {
	for _, n := range []int{-1, 0, maxSCRAMIterations + 1} {
		if _, _, err := Prove("SHA-1", "x", []byte("salt"), n, ""); err == nil {
			t.Errorf("%d iterations are done", n)
		}
	}
}
