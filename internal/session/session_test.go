package session_test

import (
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/session"
)

func TestIDsAreUnlikeEachOther(t *testing.T) {
	form := regexp.MustCompile(`^[0-9A-V]{13}$`)
	seen := map[string]bool{}
	for range 10_000 {
		id := session.NewID().String()
		if seen[id] || !form.MatchString(id) {
			t.Fatalf("the ID %q is not new, or no 13 letters and digits", id)
		}
		seen[id] = true
	}
	if a, b := session.ID(1).String(), session.ID(2).String(); a == b {
		t.Errorf("1 and 2 are both %q", a)
	}
}

func TestTheListHasWhoIsThere(t *testing.T) {
	var r session.Registry
	now := time.Now()
	if r.Len() != 0 || len(r.List()) != 0 {
		t.Error("an empty registry has sessions")
	}
	for i, name := range []string{"third", "first", "second"} {
		age := []time.Duration{1, 3, 2}[i]
		r.Add(&session.Session{ID: session.ID(i), Account: name, Since: now.Add(-age * time.Minute)})
	}
	r.Remove(session.ID(2)) // "second"
	r.Remove(session.ID(9)) // nobody
	list := r.List()
	if len(list) != 2 || r.Len() != 2 || list[0].Account != "first" || list[1].Account != "third" {
		t.Errorf("the list is %v, want first and third, the oldest first", list)
	}
}

func TestManyMayComeAndGoAtOnce(t *testing.T) {
	var r session.Registry
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r.Add(&session.Session{ID: session.ID(i)})
			_ = r.List()
			if i%2 == 0 {
				r.Remove(session.ID(i))
			}
		})
	}
	wg.Wait()
	if r.Len() != 25 {
		t.Errorf("%d are left, want 25", r.Len())
	}
}

func TestWhoStandsBehindAConnectionIsKnownFromTheBeginning(t *testing.T) {
	var r session.Registry
	near, other := netip.MustParseAddrPort("10.0.0.1:43211"), netip.MustParseAddrPort("10.0.0.1:43212")
	ann, bob := &session.Session{ID: 1, Account: "ann", Near: near}, &session.Session{ID: 2, Account: "bob", Near: near}
	r.Expect(ann)
	if got := r.Behind(near); len(got) != 1 || *got[0] != *ann || r.Len() != 0 || len(r.Behind(other)) != 0 {
		t.Errorf("a login on its way: %v; %d are logged in", got, r.Len())
	}
	r.Add(ann)
	r.Expect(bob) // to another server: one port may serve for both
	if got := r.Behind(near); len(got) != 2 || *got[0] != *bob || r.Len() != 1 {
		t.Errorf("a session and a login: %v", got)
	}
	r.Expect(&session.Session{ID: 2, Account: "bob", Near: other}) // its first server did not answer
	r.Remove(ann.ID)
	if got := r.Behind(near); len(got) != 0 || len(r.Behind(other)) != 1 {
		t.Errorf("when it has gone: %v", got)
	}
	r.Remove(bob.ID)
	if len(r.Behind(other)) != 0 {
		t.Error("a login that failed is left")
	}
}

func TestTheRegistryGivesBackTheWholeSession(t *testing.T) {
	var r session.Registry
	now := time.Now()
	for i, s := range []*session.Session{
		{ID: 1},
		{ID: 3, Account: strings.Repeat("x", 31)},
		{ID: 4, Account: strings.Repeat("x", 32)},
		{
			ID: 2, Account: "ann@example.org", Protocol: "imap", Remote: netip.MustParseAddrPort("[fe80::1%eth0]:4711"),
			Target: "east/192.0.2.7:143", TLS: "TLSv1.3", Since: now.Add(-24 * time.Hour), Until: now.Add(time.Hour),
			Front: &session.Front{Addr: netip.MustParseAddrPort("10.0.0.1:5"), Node: "north", Ext: "abc"},
			Near:  netip.MustParseAddrPort("192.0.2.1:50000"), Far: netip.MustParseAddrPort("192.0.2.7:143"),
		},
	} {
		r.Add(s)
		got := r.Get(s.ID)
		if !got.Since.Equal(s.Since) || !got.Until.Equal(s.Until) {
			t.Errorf("session %d is from %v to %v, want %v to %v", i, got.Since, got.Until, s.Since, s.Until)
		}
		got.Since, got.Until = s.Since, s.Until
		if !reflect.DeepEqual(got, s) {
			t.Errorf("it gives back %+v\nwant %+v", got, s)
		}
	}
	if r.Get(9) != nil {
		t.Error("it knows nobody's session")
	}
}

// Ports come again: at other addresses of ours, and towards other servers.
func TestManyMayHaveTheSamePort(t *testing.T) {
	var r session.Registry
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 4)}), uint16(40000+i%8))
	}
	for i := range 100 {
		r.Expect(&session.Session{ID: session.ID(i), Near: at(i)})
		r.Add(&session.Session{ID: session.ID(i), Near: at(i)})
	}
	for i := range 50 {
		r.Remove(session.ID(2 * i))
	}
	left := 0
	for i := range 8 {
		for _, s := range r.Behind(at(i)) {
			if left++; s.Near != at(i) || s.ID%2 == 0 {
				t.Errorf("behind %v is %+v", at(i), s)
			}
		}
	}
	if left != 50 || r.Len() != 50 {
		t.Errorf("%d are found of %d, want 50", left, r.Len())
	}
	for i := range 50 {
		r.Remove(session.ID(2*i + 1))
	}
	for i := range 8 {
		if len(r.Behind(at(i))) > 0 {
			t.Errorf("somebody is left behind %v", at(i))
		}
	}
}
