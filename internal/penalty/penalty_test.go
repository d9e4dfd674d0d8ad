package penalty_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"usher/internal/penalty"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A door is where tries are made, in synthetic time. The right password is "right".
type door struct {
	*penalty.Penalties
	t *testing.T
}

// play plays in a bubble of synthetic time.
func play(t *testing.T, do func(d door)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { do(door{penalty.New(usual), t}) })
}

// site is a network by its number.
func site(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

// attempt tries a password, and returns how long that had to wait.
func (d door) attempt(from netip.Prefix, name, password string) (waited time.Duration, err error) {
	began := time.Now()
	try, err := d.Begin(d.t.Context(), from, name, func() {})
	waited = time.Since(began).Truncate(time.Second) // without what chance adds
	if err != nil {
		return waited, err
	}
	if password == "right" {
		try.Right()
	} else {
		try.Wrong(password)
	}
	return waited, nil
}

// waits tries a password that has to wait for so long.
func (d door) waits(want time.Duration, from netip.Prefix, name, password string) {
	d.t.Helper()
	if got, err := d.attempt(from, name, password); err != nil || got != want {
		d.t.Errorf("%s from %v with %q waits for %v, %v; want %v", name, from, password, got, err, want)
	}
}

// held is what is held against a network.
func (d door) held(from netip.Prefix) penalty.Penalty {
	for _, p := range d.List() {
		if p.Network == from {
			return p
		}
	}
	return penalty.Penalty{}
}

var home, away = site(1), site(2)

func TestWhoGuessesWaitsForLongerAndLonger(t *testing.T) {
	play(t, func(d door) {
		for i, want := range []time.Duration{0, 2, 2, 2, 2, 2, 4, 8, 16, 32, 50, 50, 50, 50} {
			d.waits(want*time.Second, home, fmt.Sprintf("user%d", i), "secret")
		}
		d.waits(0, away, "ann", "secret") // from elsewhere nobody has to wait
	})
}

// Whose name it is makes no difference: one by one the networks run out, here as there.
func TestANameIsNotGuessedAboutFromEverywhere(t *testing.T) {
	play(t, func(d door) {
		for i, want := range []time.Duration{0, 2, 2, 2, 2, 2, 4, 8, 16, 32, 50, 50} {
			d.waits(want*time.Second, site(100+i), "Ann", fmt.Sprintf("secret%d", i))
		}
		d.waits(50*time.Second, away, "ANN", "right") // no case is another name
		d.waits(0, site(99), "bob", "secret")
	})
}

func TestAnOldTelephoneCostsNothingMore(t *testing.T) {
	play(t, func(d door) {
		for range 1000 {
			d.waits(0, home, "ann", "old password")
			time.Sleep(10 * time.Second)
		}
		d.waits(0, home, "bob", "right")
		if p := d.held(home); p.Guesses != 0 {
			t.Errorf("after hours %d guesses are held against it", p.Guesses)
		}
		d.waits(0, home, "ann", "old password")
		if p := d.held(home); p.Guesses != 0 {
			t.Error("what it says is a guess once more")
		}
	})
}

// The same password may be wrong in many places: each time it is a guess there.
func TestWhatOneNetworkHasTriedIsNewFromAnother(t *testing.T) {
	play(t, func(d door) {
		for i := range 8 {
			d.attempt(home, fmt.Sprintf("user%d", i), "secret")
			d.attempt(away, fmt.Sprintf("user%d", i), "secret")
		}
		if a, b := d.held(home).Guesses, d.held(away).Guesses; a != 8 || b != 8 {
			t.Errorf("%d and %d guesses, want 8 from each", a, b)
		}
	})
}

func TestAFriendNeverWaitsForWhatOthersDo(t *testing.T) {
	play(t, func(d door) {
		d.waits(0, home, "ann", "right")
		for i := range 20 {
			d.attempt(home, fmt.Sprintf("user%d", i), "secret")             // a neighbour guesses about others …
			d.attempt(site(100+i), "ann", fmt.Sprintf("secret%d", i))       // … and the world about her
			d.attempt(site(200+i), fmt.Sprintf("someone%d", i), "whatever") // … and a siege begins
			d.waits(0, home, "ann", "right")
			d.waits(0, home, "Ann", "right")
		}
	})
}

func TestAFriendWhoGuessesIsNone(t *testing.T) {
	play(t, func(d door) {
		d.waits(0, home, "ann", "right")
		for i := range 5 {
			d.waits(0, home, "ann", fmt.Sprintf("secret%d", i))
			d.waits(0, home, "ann", fmt.Sprintf("secret%d", i)) // once more, which is no guess
		}
		if p := d.List(); len(p) != 0 {
			t.Errorf("%v is held against others", p)
		}
		for i := range 2 { // one for the friend that it has
			d.waits(time.Duration(2*i)*time.Second, home, "ann", fmt.Sprintf("more%d", i))
		}
		time.Sleep(10 * time.Minute)
		d.attempt(home, "bob", "secret")
		d.attempt(home, "carl", "secret")
		d.waits(0, home, "ann", "right")
	})
}

// It would tell a neighbour who has logged in here.
func TestAFriendHearsThatItWasWrongNoSoonerThanAStranger(t *testing.T) {
	play(t, func(d door) {
		d.waits(0, home, "ann", "right")
		for i := range 15 {
			d.attempt(home, fmt.Sprintf("user%d", i), "secret")
		}
		closed := time.Until(d.held(home).Until)
		try, err := d.Begin(d.t.Context(), home, "ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		open := time.Until(try.Wrong("mistyped"))
		if closed < 40*time.Second || open < closed || open > closed+time.Second {
			t.Errorf("strangers must wait for %v, and a friend is answered after %v", closed, open)
		}
		d.waits(closed.Truncate(time.Second), home, "nobody", "secret")
	})
}

// One attacker behind the address of many, who all come for the first time.
func TestASharedAddressKeepsTheHonestOnesIn(t *testing.T) {
	play(t, func(d door) {
		ctx, stop := context.WithCancel(d.t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				d.attempt(home, fmt.Sprintf("user%d", i), "secret")
				time.Sleep(2 * time.Second) // for the answer
			}
		})
		time.Sleep(3 * time.Second)
		var honest sync.WaitGroup
		for i := range 100 {
			honest.Go(func() {
				if waited, err := d.attempt(home, fmt.Sprintf("honest%d", i), "right"); err != nil || waited > 5*time.Second {
					t.Errorf("an honest one waits for %v: %v", waited, err)
				}
			})
		}
		honest.Wait()
		for i := range 100 {
			d.waits(0, home, fmt.Sprintf("honest%d", i), "right")
		}
		stop()
		all.Wait()
	})
}

// As many as there are friends may guess one by one; then the network is closed.
func TestManyFriendsDoNotHideAnAttackerForEver(t *testing.T) {
	play(t, func(d door) {
		for i := range 1000 {
			d.waits(0, home, fmt.Sprintf("honest%d", i), "right")
		}
		for i := range 100 {
			d.waits(0, home, fmt.Sprintf("user%d", i), "secret")
		}
		for i := range 20 {
			d.attempt(home, fmt.Sprintf("more%d", i), "secret")
		}
		d.waits(50*time.Second, home, "again", "secret")
	})
}

// A source that hangs, or a server that is down, is nobody's guess; nor does it keep
// others from trying.
func TestAnOutageIsNoGuess(t *testing.T) {
	play(t, func(d door) {
		for range 50 {
			try, err := d.Begin(d.t.Context(), home, "ann", nil)
			if err != nil {
				t.Fatal(err)
			}
			try.Void()
			try.Void()
			try.Wrong("after the end")
		}
		hangs, err := d.Begin(d.t.Context(), home, "ann", nil)
		if err != nil || len(d.List()) > 0 {
			t.Fatalf("%v, %v", err, d.List())
		}
		d.waits(2*time.Second, home, "bob", "right") // ann may be guessing
		d.waits(0, home, "carl", "right")
		hangs.Void()
	})
}

// Many networks that have just begun to guess are an attack, if nobody is known there.
func TestInASiegeOneGuessIsEnough(t *testing.T) {
	play(t, func(d door) {
		d.waits(0, away, "ann", "right")
		for i := range 25 {
			d.waits(0, site(100+i), fmt.Sprintf("user%d", i), "secret")
		}
		d.waits(50*time.Second, site(100), "user100", "secret")
		d.waits(0, site(99), "bob", "right") // whose network has done nothing
		d.waits(0, away, "bob", "secret")    // and where somebody is known
		d.waits(0, away, "carl", "right")
		time.Sleep(time.Hour)
		d.waits(0, site(100), "x", "secret")
		d.waits(2*time.Second, site(100), "y", "secret")
	})
}

func TestHowManyWaitIsBounded(t *testing.T) {
	play(t, func(d door) {
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				for j := range 12 {
					d.attempt(site(i), fmt.Sprintf("user%d of %d", j, i), "secret")
				}
			})
		}
		all.Wait()
		d.Set(penalty.Terms{Step: usual.Step, Most: usual.Most, Waiting: 100})
		ctx, leave := context.WithCancel(d.t.Context())
		for i := range 100 {
			all.Go(func() {
				if _, err := d.Begin(ctx, site(i/25), fmt.Sprintf("more%d", i), func() {}); !errors.Is(err, context.Canceled) {
					t.Errorf("one who waits is told %v", err)
				}
			})
			if i == 25 {
				synctest.Wait()
				d.refuses(site(0)) // of one network
			}
		}
		synctest.Wait()
		if p := d.held(site(0)); p.Waiting != 25 {
			t.Errorf("%d wait", p.Waiting)
		}
		d.refuses(site(4)) // of all
		d.waits(0, site(77), "ann", "right")
		leave()
		all.Wait()
		if p := d.held(site(0)); p.Waiting != 0 {
			t.Errorf("%d wait when all have left", p.Waiting)
		}
	})
}

// refuses tries what is not even let wait.
func (d door) refuses(from netip.Prefix) {
	d.t.Helper()
	if waited, err := d.attempt(from, "one more", "right"); !errors.Is(err, penalty.ErrTooMany) || waited > 0 {
		d.t.Errorf("one more from %v is told %v after %v", from, err, waited)
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	play(t, func(d door) {
		for i := range 12 {
			d.attempt(home, fmt.Sprintf("user%d", i), "secret")
		}
		var all sync.WaitGroup
		results := make(chan error, 10)
		for i := range 10 {
			all.Go(func() {
				began := time.Now()
				_, err := d.attempt(home, fmt.Sprintf("more%d", i), "secret")
				if took := time.Since(began); took > 61*time.Second {
					t.Errorf("one waits for %v", took)
				}
				results <- err
			})
		}
		all.Wait()
		looked := 0
		for range 10 {
			if <-results == nil {
				looked++
			}
		}
		if looked != 1 {
			t.Errorf("%d were looked at within a minute, want 1", looked)
		}
	})
}

func TestWhoIsForgivenTriesAtOnce(t *testing.T) {
	play(t, func(d door) {
		fail := func() {
			for i := range 12 {
				d.attempt(home, "ann", fmt.Sprintf("secret%d", i))
			}
		}
		for _, c := range []struct {
			what    string
			forgive func() int
			n       int
			waits   time.Duration // of another name from there
			ann     time.Duration // of her from elsewhere
		}{
			{"a network", func() int { return d.Forgive(home) }, 1, 0, 50 * time.Second},
			{"a wider one", func() int { return d.Forgive(netip.MustParsePrefix("10.0.0.0/8")) }, 1, 0, 50 * time.Second},
			{"another", func() int { return d.Forgive(away) }, 0, 50 * time.Second, 0},
			{"a name", func() int { return d.ForgiveUser("ANN") }, 1, 50 * time.Second, 0},
			{"another name", func() int { return d.ForgiveUser("bob") }, 0, 50 * time.Second, 0},
			{"everybody", func() int { return d.ForgiveAll() }, 2, 0, 0},
		} {
			d.Penalties = penalty.New(usual)
			fail()
			if n := c.forgive(); n != c.n {
				t.Errorf("%s: %d are forgiven, want %d", c.what, n, c.n)
			}
			if c.ann > 0 {
				d.waits(c.ann, site(9), "ann", "secret")
				continue
			}
			d.waits(c.waits, home, "bob", "secret")
		}
		d.Penalties = penalty.New(usual)
		fail()
		var waiting sync.WaitGroup
		waiting.Go(func() { d.waits(10*time.Second, home, "bob", "right") })
		time.Sleep(10 * time.Second)
		d.Forgive(home)
		waiting.Wait()
	})
}

func TestTheListSaysWhatIsHeld(t *testing.T) {
	play(t, func(d door) {
		d.waits(0, home, "bob", "right")
		d.attempt(home, "ann", "secret1")
		d.attempt(home, "ann", "secret2")
		d.attempt(away, "ann", "secret2")
		d.waits(0, site(7), "carl", "right")
		now := time.Now()
		want := []penalty.Penalty{
			{Network: home, Guesses: 2, Friends: 1, Until: now},
			{User: "ann", Guesses: 2, Until: now},
			{Network: away, Guesses: 1, Until: now},
		}
		got := d.List()
		if len(got) != len(want) {
			t.Fatalf("it is %+v", got)
		}
		for i := range want {
			if got[i].Until.Before(now) || got[i].Until.After(now.Add(2*time.Second)) {
				t.Errorf("%+v: until is not within two seconds of %v", got[i], now)
			}
			if got[i].Until = now; got[i] != want[i] {
				t.Errorf("%d is %+v, want %+v", i, got[i], want[i])
			}
		}
		time.Sleep(time.Hour)
		if got := d.List(); len(got) > 0 {
			t.Errorf("after an hour %+v is held", got)
		}
	})
}

func TestWithoutADelayThereAreNoPenalties(t *testing.T) {
	for _, terms := range []penalty.Terms{{}, {Step: time.Second, Waiting: 10}, {Most: time.Minute, Waiting: 10}} {
		play(t, func(d door) {
			d.Set(terms)
			for i := range 100 {
				d.waits(0, home, "ann", fmt.Sprintf("secret%d", i))
			}
			d.waits(0, home, "ann", "right")
			if len(d.List()) > 0 {
				t.Errorf("%v is held", d.List())
			}
			var none *penalty.Penalties
			none.Know(home, "ann")
			try, err := none.Begin(d.t.Context(), home, "ann", nil)
			if err != nil {
				t.Error(err)
			}
			try.Wrong("secret")
			try.Right()
		})
	}
}

func TestWhoIsLoggedInAlreadyIsAFriend(t *testing.T) {
	play(t, func(d door) {
		d.Know(home, "Ann")
		for i := range 12 {
			d.attempt(home, fmt.Sprintf("user%d", i), "secret")
		}
		d.waits(0, home, "ann", "right")
	})
}

// Whoever brings ever more networks, names and passwords fills a bounded memory.
func TestMoreGuessesThanFitAreNotAllRemembered(t *testing.T) {
	play(t, func(d door) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 100_000 {
			d.attempt(site(i), fmt.Sprintf("a rather long name %d", i), "secret")
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 24<<20 {
			t.Errorf("they hold %d KB", grew>>10)
		}
		runtime.KeepAlive(d.Penalties)
	})
}

func TestManyAtOnceAreCountedRight(t *testing.T) {
	play(t, func(d door) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				for j := range 20 {
					password := "right"
					if j%7 == i%7 {
						password = fmt.Sprint("secret", j)
					}
					d.attempt(site(i%3), fmt.Sprintf("user%d", i%11), password)
				}
			})
		}
		all.Wait()
		for i := range 3 {
			if p := d.held(site(i)); p.Waiting != 0 {
				t.Errorf("%d wait at %v when nobody is there", p.Waiting, site(i))
			}
		}
		time.Sleep(time.Hour)
		for i := range 3 {
			d.waits(0, site(i), "newcomer", "right")
		}
	})
}
