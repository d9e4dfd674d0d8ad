package limit_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"usher/internal/limit"
)

var (
	home = netip.MustParseAddr("192.0.2.1")
	away = netip.MustParseAddr("192.0.2.2")
)

func take(t *testing.T, n int, f func() (func(), error)) (releases []func()) {
	t.Helper()
	for i := range n {
		release, err := f()
		if err != nil {
			t.Fatalf("number %d of %d is refused: %v", i+1, n, err)
		}
		releases = append(releases, release)
	}
	return releases
}

func refused(t *testing.T, what string, f func() (func(), error)) {
	t.Helper()
	release, err := f()
	switch {
	case !errors.Is(err, limit.ErrTooMany):
		t.Errorf("%s: no refusal: %v", what, err)
	case release != nil:
		t.Errorf("%s: refused, but there is something to release", what)
	case !strings.Contains(err.Error(), what):
		t.Errorf("the refusal says %q, not of what: %q", err, what)
	}
}

func connect(l *limit.Limits, a netip.Addr) func() (func(), error) {
	return func() (func(), error) {
		p, err := l.Connect(a, func() {})
		if err != nil {
			return nil, err
		}
		return p.Release, nil
	}
}

func session(l *limit.Limits, user string, a netip.Addr) func() (func(), error) {
	return func() (func(), error) {
		s, err := l.Session(user, a)
		if err != nil {
			return nil, err
		}
		return s.Release, nil
	}
}

func TestConnectionsAreCountedByAddress(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerAddress: 2})
	releases := take(t, 2, connect(l, home))
	refused(t, "connections from this address", connect(l, home))
	take(t, 2, connect(l, away))
	releases[0]()
	take(t, 1, connect(l, home))
	refused(t, "connections from this address", connect(l, home))
}

func TestAReleaseCountsOnce(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerAddress: 2})
	releases := take(t, 2, connect(l, home))
	for range 3 {
		releases[0]()
	}
	take(t, 1, connect(l, home))
	refused(t, "connections", connect(l, home))
}

func TestOneSiteIsOneAddress(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true}, // the /64 that one site has
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth0", true},
		{"fe80::1%eth0", "fe80::2%eth1", true}, // whoever chooses the zone
	} {
		l := limit.New(limit.Bounds{LoginsPerAddress: 1})
		take(t, 1, connect(l, netip.MustParseAddr(c.a)))
		_, err := connect(l, netip.MustParseAddr(c.b))()
		if same := err != nil; same != c.same {
			t.Errorf("%s and %s: counted together is %v, want %v", c.a, c.b, same, c.same)
		}
	}
}

func TestSessionsAreCountedByUser(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUser: 2})
	take(t, 1, session(l, "ann", home))
	releases := take(t, 1, session(l, "ANN", away)) // backends do not tell them apart
	refused(t, "sessions of this user", session(l, "Ann", home))
	take(t, 2, session(l, "bob", home))
	releases[0]()
	take(t, 1, session(l, "ann", home))
}

func TestSessionsAreCountedByUserAndAddress(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUserAddress: 1})
	take(t, 1, session(l, "ann", home))
	refused(t, "sessions of this user from this address", session(l, "ann", home))
	take(t, 1, session(l, "ann", away))
	take(t, 1, session(l, "bob", home))
}

func TestARefusedSessionTakesNoRoom(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUser: 2, SessionsPerUserAddress: 1})
	take(t, 1, session(l, "ann", home))
	for range 5 {
		refused(t, "from this address", session(l, "ann", home))
	}
	take(t, 1, session(l, "ann", away))
}

func TestSessionsTakeRoomFromConnections(t *testing.T) {
	l := limit.New(limit.Bounds{Connections: 3})
	sessions := take(t, 2, session(l, "ann", home))
	take(t, 1, connect(l, home))
	refused(t, "connections in all", connect(l, away))
	take(t, 1, session(l, "bob", home)) // its connection is in already
	for _, release := range sessions {
		release()
	}
	take(t, 1, connect(l, away))
}

func TestNewBoundsHoldForWhoComesNext(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUser: 3})
	take(t, 3, session(l, "ann", home))
	l.Set(limit.Bounds{SessionsPerUser: 1})
	take(t, 1, session(l, "bob", home))
	refused(t, "sessions of this user", session(l, "bob", home))
	l.Set(limit.Bounds{SessionsPerUser: 4})
	take(t, 1, session(l, "ann", home))
}

func TestAnAdoptedSessionIsCountedButNeverRefused(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUser: 1})
	first := l.Adopt("ann", home)
	second := l.Adopt("ann", home)
	refused(t, "sessions of this user", session(l, "ann", home))
	first.Release()
	refused(t, "sessions of this user", session(l, "ann", home))
	second.Release()
	take(t, 1, session(l, "ann", home))
}

func TestZeroIsNoLimit(t *testing.T) {
	l := &limit.Limits{}
	take(t, 1000, connect(l, home))
	take(t, 1000, session(l, "ann", home))
}

func TestManyAtOnceAreCountedRight(t *testing.T) {
	l := limit.New(limit.Bounds{SessionsPerUser: 10})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				if seat, err := l.Session("ann", home); err == nil {
					seat.Release()
				}
			}
		})
	}
	wg.Wait()
	take(t, 10, session(l, "ann", home))
	refused(t, "sessions of this user", session(l, "ann", home))
}

// Behind a front end are many, who have no address yet.
func TestWhoHasNoAddressCountsAmongAllOnly(t *testing.T) {
	l := limit.New(limit.Bounds{Connections: 5, LoginsPerAddress: 1})
	nobody := netip.Addr{}
	releases := take(t, 4, connect(l, nobody))
	take(t, 1, connect(l, home))
	refused(t, "connections in all", connect(l, nobody))
	if n := l.Conversations(); n != 5 {
		t.Errorf("%d conversations, want 5", n)
	}
	for _, release := range releases {
		release()
	}
	refused(t, "connections from this address", connect(l, home))
	if n := l.Conversations(); n != 1 {
		t.Errorf("%d conversations are left, want 1", n)
	}
}
