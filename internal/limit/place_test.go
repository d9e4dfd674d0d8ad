package limit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/limit"
)

// A guest is a connection, by a name for the test.
type guest struct {
	*limit.Place
	asked bool // to leave
}

// arrive lets somebody in who has to be.
func arrive(t *testing.T, l *limit.Limits, addr string) *guest {
	t.Helper()
	g := new(guest)
	p, err := l.Connect(netip.MustParseAddr(addr), func() { g.asked = true })
	if err != nil {
		t.Fatalf("%s is refused: %v", addr, err)
	}
	g.Place = p
	return g
}

func TestTheMostCrowdedNetworkMakesRoom(t *testing.T) {
	l := limit.New(limit.Bounds{Connections: 5})
	first := arrive(t, l, "192.0.2.1")
	lone := arrive(t, l, "198.51.100.1")
	crowd := []*guest{first, arrive(t, l, "192.0.2.1"), arrive(t, l, "192.0.2.1"), arrive(t, l, "192.0.2.1")}
	newcomer := arrive(t, l, "203.0.113.1")
	if !first.asked || crowd[1].asked || lone.asked || newcomer.asked {
		t.Error("it is not the oldest of the network with the most that makes room")
	}
	first.Release()
	if n := l.Conversations(); n != 5 {
		t.Errorf("%d are in, where there is room for 5", n)
	}
	other := arrive(t, l, "203.0.113.2")
	if !crowd[1].asked || lone.asked || newcomer.asked {
		t.Error("the next is not the next oldest of that network")
	}
	crowd[1].Release()
	other.Release()
	arrive(t, l, "203.0.113.2")
	if crowd[2].asked {
		t.Error("somebody made room though there was some")
	}
}

// Nobody could ever log in if each newcomer drove out who came right before.
func TestOfEqualsNobodyMakesRoomBeforeHeCouldLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Bounds{Logins: 2})
		a, b := arrive(t, l, "192.0.2.1"), arrive(t, l, "192.0.2.2")
		refused(t, "connections in all", connect(l, netip.MustParseAddr("192.0.2.3")))
		refused(t, "connections in all", connect(l, netip.MustParseAddr("192.0.2.1"))) // nor one of its own
		time.Sleep(5 * time.Second)
		arrive(t, l, "192.0.2.3")
		if !a.asked || b.asked {
			t.Error("after a while it is not the oldest who makes room")
		}
	})
}

func TestANetworkThatHasTheMostMakesRoomForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Bounds{Connections: 4})
		a, b := arrive(t, l, "192.0.2.1"), arrive(t, l, "192.0.2.1")
		c, d := arrive(t, l, "192.0.2.2"), arrive(t, l, "192.0.2.2")
		time.Sleep(time.Minute)
		arrive(t, l, "192.0.2.2")
		if !c.asked || a.asked || b.asked || d.asked {
			t.Error("another network has to make room")
		}
	})
}

func TestWhoIsKnownNeedNotMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Bounds{Connections: 3, Networks: limit.Networks{Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}})
		ann, webmail, crowd := arrive(t, l, "192.0.2.1"), arrive(t, l, "198.51.100.7"), arrive(t, l, "192.0.2.1")
		ann.Proven()
		time.Sleep(time.Minute)
		next := arrive(t, l, "203.0.113.1")
		if ann.asked || webmail.asked || !crowd.asked {
			t.Error("somebody who is known had to make room")
		}
		crowd.Release()
		next.Proven()
		refused(t, "connections in all", connect(l, netip.MustParseAddr("203.0.113.9")))
	})
}

// Those who were asked still hold their descriptors.
func TestNoMoreAreAskedThanCanBeAwaited(t *testing.T) {
	l := limit.New(limit.Bounds{Connections: 100})
	var crowd []*guest
	for range 100 {
		crowd = append(crowd, arrive(t, l, "192.0.2.1"))
	}
	for i := range 16 {
		arrive(t, l, fmt.Sprintf("203.0.113.%d", i))
	}
	refused(t, "connections in all", connect(l, netip.MustParseAddr("203.0.113.99")))
	crowd[3].Release()
	arrive(t, l, "203.0.113.99")
	if n := l.Conversations(); n != 116 {
		t.Errorf("%d are in", n)
	}
}

func TestConnectionsThatDoNotLogInAreCountedByTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(limit.Bounds{LoginsPerMinute: 60})
		for range 60 {
			arrive(t, l, "192.0.2.1").Release()
		}
		refused(t, "connections from this address in a minute", connect(l, home))
		arrive(t, l, "192.0.2.2")
		time.Sleep(time.Second)
		arrive(t, l, "192.0.2.1")
		refused(t, "connections from this address in a minute", connect(l, home))
		time.Sleep(time.Minute)
		for range 1000 {
			g := arrive(t, l, "192.0.2.1")
			g.Proven()
			g.Release()
		}
	})
}

func TestExemptNetworksHaveNoLimitsOfTheirOwn(t *testing.T) {
	webmail := netip.MustParseAddr("2001:db8::7")
	l := limit.New(limit.Bounds{
		LoginsPerAddress: 1, LoginsPerMinute: 1, SessionsPerAddress: 1, SessionsPerUserAddress: 1, SessionsPerUser: 3,
		Networks: limit.Networks{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32"), netip.MustParsePrefix("2001:db8::/64")}},
	})
	take(t, 10, connect(l, webmail))
	take(t, 3, session(l, "ann", webmail))
	refused(t, "sessions of this user", session(l, "ann", webmail))
	take(t, 3, session(l, "bob", webmail))
	take(t, 1, session(l, "carl", home))
	refused(t, "sessions from this address", session(l, "dora", home))
}

func TestNetworksAreAsWideAsConfigured(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerAddress: 1, Networks: limit.Networks{V4: 24, V6: 48}})
	arrive(t, l, "192.0.2.1")
	refused(t, "connections from this address", connect(l, away))
	arrive(t, l, "2001:db8:1:2::1")
	refused(t, "connections from this address", connect(l, netip.MustParseAddr("2001:db8:1:3::1")))
	arrive(t, l, "2001:db8:2::1")
	for addr, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::1": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48",
	} {
		if got, _ := l.Network(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("%s is of %s, want %s", addr, got, want)
		}
	}
}

// A front end tells whom it stands for when the connection is there already.
func TestAClientOfAFrontEndCountsUnderItsOwnAddress(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerAddress: 1, LoginsPerMinute: 2})
	const frontEnd = "198.51.100.1"
	var all []*guest
	for i := range 100 {
		g := arrive(t, l, frontEnd)
		if err := g.Move(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	refused(t, "before login", connect(l, home))
	second := arrive(t, l, frontEnd)
	if err := second.Move(home); err == nil {
		t.Error("a second connection of one client is let in, behind a front end")
	}
	if err := second.Move(away); err != nil {
		t.Errorf("who is to leave is moved again: %v", err)
	}
	second.Release()
	all[1].Proven()
	if err := all[1].Move(away); err != nil {
		t.Errorf("who is known is moved: %v", err)
	}
	for _, g := range all {
		g.Release()
		g.Release()
	}
	if n := l.Conversations(); n != 0 {
		t.Errorf("%d are left", n)
	}
	arrive(t, l, "192.0.2.50")
	refused(t, "before login", connect(l, netip.MustParseAddr("192.0.2.50")))
}

func TestAPlaceThatNobodyHasCanBeUsed(t *testing.T) {
	var p *limit.Place
	p.Proven()
	p.Release()
	if err := p.Move(home); err != nil {
		t.Error(err)
	}
}

// Whatever happens in whatever order, everything is counted back.
func TestEverythingIsGivenBack(t *testing.T) {
	l := limit.New(limit.Bounds{Connections: 50, Logins: 40, LoginsPerAddress: 20, LoginsPerMinute: 1000})
	r := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(5))}) }
	var in []*guest
	for range 100_000 {
		switch n := len(in); {
		case n == 0 || r.IntN(3) == 0:
			g := new(guest)
			if p, err := l.Connect(addr(), func() { g.asked = true }); err == nil {
				g.Place = p
				in = append(in, g)
			}
		case r.IntN(4) == 0:
			_ = in[r.IntN(n)].Move(addr())
		case r.IntN(4) == 0:
			in[r.IntN(n)].Proven()
		default:
			i := r.IntN(n)
			in[i].Release()
			in = append(in[:i], in[i+1:]...)
		}
		leaving := 0
		for _, g := range in {
			if g.asked {
				leaving++
			}
		}
		if len(in)-leaving > 50 || leaving > 16 || l.Conversations() != len(in) {
			t.Fatalf("%d are in, of whom %d were asked to leave; counted are %d", len(in), leaving, l.Conversations())
		}
	}
	for _, g := range in {
		g.Release()
	}
	if n := l.Conversations(); n != 0 {
		t.Errorf("%d are left", n)
	}
	for range 20 {
		arrive(t, l, "198.51.100.1")
	}
	refused(t, "before login", connect(l, netip.MustParseAddr("198.51.100.1")))
}

// A million addresses come and go, and nothing is left of them but a bounded table.
func TestAMillionAddressesAreForgotten(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerMinute: 60, SessionsPerUser: 50, SessionsPerAddress: 50})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		p, err := l.Connect(addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			seat, err := l.Session("ann", addr)
			if err != nil {
				t.Fatal(err)
			}
			seat.Release()
		}
		p.Release()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 8<<20 {
		t.Errorf("a million addresses hold %d KB", grew>>10)
	}
	runtime.KeepAlive(l)
}

// What a login costs here: its connection and its session.
func BenchmarkLogin(b *testing.B) {
	l := limit.New(limit.Bounds{Connections: 1 << 20, Logins: 10_000, LoginsPerAddress: 100, LoginsPerMinute: 6000, SessionsPerUser: 50, SessionsPerUserAddress: 20})
	b.ReportAllocs()
	for i := range b.N {
		addr := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		p, _ := l.Connect(addr, func() {})
		p.Proven()
		seat, _ := l.Session("ann@example.org", addr)
		p.Release()
		seat.Release()
	}
}
