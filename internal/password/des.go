package password

import (
	"crypto/subtle"
	"strings"
)

// isDES reports whether text can be a hash of the oldest crypt(3): two digits of
// salt and eleven of key. 64 bits leave two of the last digit's six empty.
func isDES(text string) bool {
	return len(text) == 13 && isCrypt64(text) && strings.IndexByte(crypt64, text[12])&3 == 0
}

// A desHash is salt and key, for which isDES is true.
type desHash string

func (d desHash) is(clear string) (bool, error) {
	return subtle.ConstantTimeCompare([]byte(desCrypt(clear, string(d[:2]))), []byte(d)) == 1, nil
}

// desCrypt is crypt(3) of 1979. The password is the key of DES, which encrypts a
// block of zeros 25 times; the salt changes DES a little, so that the chips of
// that time were no help. One byte holds one bit, as in FIPS 46-3.
func desCrypt(clear, salt string) string {
	keys, expand := desKeys(clear), desExpansion(salt)
	block := make([]byte, 64)
	for range 25 {
		block = desEncrypt(block, &keys, &expand)
	}
	out := []byte(salt)
	for block = append(block, 0, 0); len(block) > 0; block = block[6:] {
		out = append(out, crypt64[bits(block[:6])])
	}
	return string(out)
}

// desKeys makes the keys of the sixteen rounds of seven bits each of the first
// eight bytes.
func desKeys(clear string) (keys [16][]byte) {
	var key [64]byte
	for i := range min(len(clear), 8) {
		for j := range 7 {
			key[8*i+j] = clear[i] >> (6 - j) & 1
		}
	}
	cd := pick(key[:], desPC1[:])
	c, d := cd[:28], cd[28:]
	for i, n := range desShifts {
		c, d = append(c[n:28:28], c[:n]...), append(d[n:28:28], d[:n]...)
		keys[i] = pick(append(c[:28:28], d...), desPC2[:])
	}
	return keys
}

// desExpansion exchanges an entry of DES's table E with that 24 further on for
// each bit of the salt that is set.
func desExpansion(salt string) [48]byte {
	e := desE
	for i := range 12 {
		if strings.IndexByte(crypt64, salt[i/6])>>(i%6)&1 == 1 {
			e[i], e[i+24] = e[i+24], e[i]
		}
	}
	return e
}

func desEncrypt(block []byte, keys *[16][]byte, expand *[48]byte) []byte {
	block = pick(block, desIP[:])
	left, right := block[:32], block[32:]
	for _, key := range keys {
		next := desRound(right, key, expand)
		for i := range next {
			next[i] ^= left[i]
		}
		left, right = right, next
	}
	return pick(append(right[:32:32], left...), desFP[:])
}

// desRound is the function f of FIPS 46-3.
func desRound(right, key []byte, expand *[48]byte) []byte {
	in := pick(right, expand[:])
	for i := range in {
		in[i] ^= key[i]
	}
	var out [32]byte
	for i := range desS {
		b := in[6*i : 6*i+6]
		row, column := b[0]<<1|b[5], bits(b[1:5])
		s := desS[i][16*row+column]
		for j := range 4 {
			out[4*i+j] = s >> (3 - j) & 1
		}
	}
	return pick(out[:], desP[:])
}

// pick takes bits by their numbers, which begin at 1.
func pick(from, numbers []byte) []byte {
	to := make([]byte, len(numbers))
	for i, n := range numbers {
		to[i] = from[n-1]
	}
	return to
}

// bits reads a number, its highest bit first.
func bits(b []byte) (n byte) {
	for _, bit := range b {
		n = n<<1 | bit
	}
	return n
}
