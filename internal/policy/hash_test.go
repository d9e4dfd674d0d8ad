package policy

import (
	"encoding/hex"
	"math/big"
	"testing"
)

func TestTheFirstBits(t *testing.T) {
	for bits, want := range map[int]string{1: "01", 3: "05", 8: "ab", 9: "0157", 12: "0abc", 13: "1579", 16: "abcd", 20: "0abcde"} {
		if got := hex.EncodeToString(first([]byte{0xab, 0xcd, 0xef}, bits)); got != want {
			t.Errorf("%d bits: %s, want %s", bits, got, want)
		}
	}
}

func TestAHashHasAsManyBitsAsThereAre(t *testing.T) {
	for _, h := range []Hash{{Mech: "md4"}, {Mech: "sha256", Bits: -1}, {Mech: "sha256", Bits: 256}, {Mech: "md5", Bits: 128}} {
		if h.Check() == nil {
			t.Errorf("%+v is one", h)
		}
	}
	for _, h := range []Hash{{Mech: "sha256", Bits: 255}, {Mech: "sha512"}, {Mech: "sha1", Bits: 12}} {
		if err := h.Check(); err != nil {
			t.Errorf("%+v: %v", h, err)
		}
	}
}

// The first bits are a number: its shift says what they must be.
func FuzzFirst(f *testing.F) {
	f.Add([]byte{0xab, 0xcd}, 12)
	f.Fuzz(func(t *testing.T, b []byte, bits int) {
		if bits < 1 || bits > len(b)*8 {
			return
		}
		want := new(big.Int).Rsh(new(big.Int).SetBytes(b), uint(len(b)*8-bits))
		got := first(append([]byte(nil), b...), bits)
		if new(big.Int).SetBytes(got).Cmp(want) != 0 || len(got) != (bits+7)/8 {
			t.Fatalf("%d bits of %x are %x, want %x", bits, b, got, want)
		}
	})
}

// Whatever a service says, it is no, a bounded wait, or an error.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"status":-1,"msg":"go away"}`, `{"status":99999999999}`, `{"status":null}`, `[]`, `{"Status":1.5}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parse(text)
		if err != nil && v != (Verdict{}) || v.Wait < 0 || v.Wait > mostWait || v.Refused && v.Wait > 0 || len([]rune(v.Words)) > mostWords {
			t.Fatalf("%+v, %v", v, err)
		}
	})
}
