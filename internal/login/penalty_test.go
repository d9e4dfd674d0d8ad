package login_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/penalty"
	"usher/internal/relay"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

var somewhere = netip.MustParseAddr("192.0.2.7")

// inSiege plays in synthetic time.
func inSiege(t *testing.T, play func(t *testing.T, s *siege)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { play(t, newSiege(penalty.New(usual))) })
}

// fail guesses so often from an address that it is closed for 50 seconds.
func (s *siege) fail(t *testing.T, from netip.Addr) {
	t.Helper()
	for i := range 12 {
		if err := s.login(t.Context(), from, fmt.Sprintf("somebody%d", i), "wrong"); login.ReasonOf(err) != login.BadLogin {
			t.Fatal(err)
		}
	}
}

// Whoever guesses must not have us compute slow hashes meanwhile.
func TestAPasswordThatHasToWaitIsNotLookedAt(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		s.fail(t, somewhere)
		before := s.looked.Load()
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
		defer leave()
		if err := s.login(ctx, somewhere, "ann", "wrong"); login.ReasonOf(err) != login.TooManyFailures || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
		if n := s.looked.Load() - before; n > 0 {
			t.Errorf("it was looked at %d times", n)
		}
	})
}

// What is hashed for a challenge costs as much as a password that is looked at. A client
// that cannot answer one, and shows its password then, has not guessed.
func TestWhoLeavesChallengesUnansweredGuesses(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		s.desk.Mechanisms = []sasl.Mechanism{sasl.SCRAMSHA1}
		c := &login.Client{Conn: wire.New(record("*\r\n*\r\nc=biws\r\n"), wire.Bounds{}), Remote: netip.AddrPortFrom(somewhere, 1), Protocol: proto{}}
		for guesses := range 3 {
			first := base64.StdEncoding.EncodeToString([]byte("n,,n=ann,r=abc"))
			if _, err := s.desk.Admit(t.Context(), c, "SCRAM-SHA-1", login.NewExchange(c.Conn, &first)); err == nil || login.ReasonOf(err) == login.BadLogin {
				t.Error(err)
			}
			if list := s.desk.Penalties.List(); len(list) != min(guesses, 1)*2 || guesses > 0 && list[0].Guesses != guesses {
				t.Errorf("after %d: held is %+v", guesses+1, list)
			}
		}
	})
}

// An attacker must not learn which accounts there are from how long he has to wait.
func TestPenaltiesAreTheSameForNamesThatNobodyHas(t *testing.T) {
	took := map[string][]time.Duration{}
	for name, err := range map[string]error{"unknown": account.ErrUnknown, "wrong": account.ErrRefused} {
		inSiege(t, func(t *testing.T, s *siege) {
			s.desk.Verifier = func(*login.Client) sasl.Verifier { return failing(err) }
			for i := range 12 {
				began := time.Now()
				_ = s.login(t.Context(), somewhere, fmt.Sprintf("user%d", i%3), fmt.Sprintf("password%d", i))
				took[name] = append(took[name], time.Since(began).Truncate(time.Second)) // without what chance adds
			}
		})
	}
	for i, d := range took["unknown"] {
		if other := took["wrong"][i]; d < other-time.Second || d > other+time.Second {
			t.Errorf("try %d takes %v if the name is unknown, and %v if the password is wrong", i, d, took["wrong"][i])
		}
	}
}

// Else a neighbour could find out who logs in there.
func TestAFriendsWrongPasswordTakesAsLongAsAStrangers(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		time.Sleep(time.Second)
		if err := s.login(t.Context(), somewhere, "ann", "secret"); err != nil {
			t.Fatal(err)
		}
		s.fail(t, somewhere)
		s.fail(t, somewhere) // which is nothing new
		if err := s.login(t.Context(), somewhere, "eve", "fresh"); err == nil {
			t.Fatal("eve got in")
		}
		began := time.Now()
		_ = s.login(t.Context(), somewhere, "ann", "mistyped")
		friend := time.Since(began)
		began = time.Now()
		if err := s.login(t.Context(), somewhere, "ann", "secret"); err != nil || time.Since(began) > 0 {
			t.Errorf("with the right password she waits for %v: %v", time.Since(began), err)
		}
		_ = s.login(t.Context(), somewhere, "eve", "another") // the network is closed again for all of a minute
		began = time.Now()
		_ = s.login(t.Context(), somewhere, "bob", "mistyped")
		if stranger := time.Since(began); friend < stranger-time.Second || friend > stranger+time.Second {
			t.Errorf("a friend hears that it was wrong after %v, a stranger after %v", friend, stranger)
		}
	})
}

func TestExemptNetworksHaveNoPenalties(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		s.desk.Limits.Set(limit.Bounds{Networks: limit.Networks{Exempt: []netip.Prefix{netip.PrefixFrom(somewhere, 24)}}})
		began := time.Now()
		s.fail(t, somewhere)
		if took := time.Since(began); !about(took, 12*2*time.Second) || len(s.desk.Penalties.List()) > 0 {
			t.Errorf("12 failures took %v, and %v is held", took, s.desk.Penalties.List())
		}
	})
}

// Names count as the client means them, so that they cannot be guessed about twice.
func TestPenaltiesAreForWholeNames(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		s.desk.Name = func(_ *login.Client, _, name string) string { return name + "@example.org" }
		_ = s.login(t.Context(), somewhere, "Ann", "wrong")
		list := s.desk.Penalties.List()
		if len(list) != 2 || list[1].User != "ann@example.org" {
			t.Errorf("held is %+v", list)
		}
	})
}

// After an upgrade users are no strangers where they are logged in.
func TestWhoMovesToANewProcessIsKnownThere(t *testing.T) {
	inSiege(t, func(t *testing.T, s *siege) {
		at := netip.AddrPortFrom(somewhere, 1)
		s.desk.Adopt(&session.Session{Account: "ann", Remote: at, Near: at}, relay.Pair{})
		_ = s.login(t.Context(), somewhere, "eve", "wrong")
		_ = s.login(t.Context(), somewhere, "eve", "wrong again")
		began := time.Now()
		if err := s.login(t.Context(), somewhere, "ann", "secret"); err != nil || time.Since(began) > 0 {
			t.Errorf("she waits for %v: %v", time.Since(began), err)
		}
	})
}

// A client of a front end is judged by its own address.
func TestAClientBehindAFrontEndIsJudgedByItsOwnAddress(t *testing.T) {
	l := limit.New(limit.Bounds{LoginsPerAddress: 1})
	place, err := l.Connect(netip.MustParseAddr("198.51.100.1"), func() {})
	if err != nil {
		t.Fatal(err)
	}
	c := &login.Client{Place: place, Counted: place.Move, Remote: netip.MustParseAddrPort("198.51.100.1:1")}
	c.Trusted = true
	if err := c.Told(login.FactAddr, "192.0.2.7"); err != nil || c.Remote.Addr() != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("%v, it comes from %v", err, c.Remote)
	}
	if _, err := l.Connect(netip.MustParseAddr("198.51.100.1"), func() {}); err != nil {
		t.Errorf("the front end is full: %v", err)
	}
	if _, err := l.Connect(somewhere, func() {}); !errors.Is(err, limit.ErrTooMany) {
		t.Errorf("the client's address is not: %v", err)
	}
}

// What limits and penalties cost a login that is right.
func BenchmarkAdmit(b *testing.B) {
	for _, c := range []struct {
		name      string
		penalties *penalty.Penalties
	}{{"without", nil}, {"with", penalty.New(usual)}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSiege(c.penalties)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.login(b.Context(), somewhere, "ann@example.org", "secret"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
