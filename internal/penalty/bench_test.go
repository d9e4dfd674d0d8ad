package penalty_test

import (
	"net/netip"
	"testing"
	"time"

	"usher/internal/penalty"
)

var usual = penalty.Terms{Step: 2 * time.Second, Most: 50 * time.Second, Waiting: 1000}

// What a login costs that is right: of a user at a place where he has been before, and
// at a new one.
func BenchmarkRight(b *testing.B) {
	site := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for _, c := range []struct {
		name  string
		sites int
	}{{"friend", 1000}, {"stranger", 1 << 24}} {
		b.Run(c.name, func(b *testing.B) {
			p := penalty.New(usual)
			b.ReportAllocs()
			for i := range b.N {
				try, err := p.Begin(b.Context(), site(i%c.sites), "ann@example.org", nil)
				if err != nil {
					b.Fatal(err)
				}
				try.Right()
			}
		})
	}
}

// What a wrong password costs that was tried before: of a friend, who never waits.
func BenchmarkWrong(b *testing.B) {
	p := penalty.New(usual)
	home := netip.MustParsePrefix("192.0.2.1/32")
	p.Know(home, "ann@example.org")
	b.ReportAllocs()
	for b.Loop() {
		try, err := p.Begin(b.Context(), home, "ann@example.org", nil)
		if err != nil {
			b.Fatal(err)
		}
		try.Wrong("secret")
	}
}
