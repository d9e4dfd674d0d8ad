package account_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
)

// keys are queries that differ in one thing from the first.
func TestWhoAsksAnotherQuestionGetsAnotherAnswer(t *testing.T) {
	q := account.Query{
		Name: "ann", Protocol: "imap", ServerName: "a.example.org", Remote: netip.MustParseAddrPort("192.0.2.1:1000"), Local: netip.MustParseAddrPort("192.0.2.9:143"),
	}
	with := func(change func(*account.Query)) account.Query { n := q; change(&n); return n }
	for _, c := range []struct {
		what  string
		other account.Query
		uses  account.Uses // for which it matters; of others it does not
	}{
		{"protocol", with(func(q *account.Query) { q.Protocol = "pop3" }), ^account.Uses(0)},
		{"case", with(func(q *account.Query) { q.Name = "Ann" }), ^account.Uses(0)},
		{"remote", with(func(q *account.Query) { q.Remote = netip.MustParseAddrPort("192.0.2.2:1000") }), account.UsesRemote},
		{"remote zone", with(func(q *account.Query) { q.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:1000") }), account.UsesRemote},
		{"local", with(func(q *account.Query) { q.Local = netip.MustParseAddrPort("192.0.2.8:143") }), account.UsesLocal},
		{"server name", with(func(q *account.Query) { q.ServerName = "b.example.org" }), account.UsesServerName},
		{"TLS", with(func(q *account.Query) { q.TLS = true }), account.UsesTLS},
		{"port", with(func(q *account.Query) { q.Remote = netip.MustParseAddrPort("192.0.2.1:2000") }), 0},
		{"mapped", with(func(q *account.Query) { q.Remote = netip.MustParseAddrPort("[::ffff:192.0.2.1]:1000") }), 0},
		{"password", with(func(q *account.Query) { q.Password = "x" }), 0},
	} {
		for _, uses := range []account.Uses{
			account.UsesName, account.UsesProtocol, account.UsesRemote, account.UsesLocal, account.UsesServerName, account.UsesTLS,
			account.UsesRemote | account.UsesLocal | account.UsesServerName | account.UsesTLS,
		} {
			s := &scripted{uses: uses}
			s.says(ann, nil)
			cache := cached(t, s, account.CacheOptions{Times: usual})
			_, _ = cache.Lookup(t.Context(), q)
			_, _ = cache.Lookup(t.Context(), c.other)
			want := int32(1)
			if c.uses&uses != 0 || c.uses == ^account.Uses(0) {
				want = 2
			}
			s.wasAsked(t, want, fmt.Sprintf("another %s, source uses %b", c.what, uses))
		}
	}
}

func TestAFlushForgetsAUserByAnyName(t *testing.T) {
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		switch {
		case strings.HasPrefix(q.Name, "nobody"):
			return account.Record{}, account.ErrUnknown
		case strings.HasPrefix(strings.ToLower(q.Name), "ann"):
			return account.Record{Fields: ann}, nil
		}
		return account.Record{Fields: account.Fields{"password": "{PLAIN}secret"}}, nil
	})
	names := []string{"ann", "Ann@example.org", "ANN", "bob", "nobody", "nobody@example.org"}
	for _, c := range []struct {
		flush string
		asked int32 // of all names, afterwards
	}{{"ANN@Example.org", 3}, {"bob", 1}, {"Nobody", 1}, {"carl", 0}, {"", 6}} {
		cache := cached(t, s, account.CacheOptions{Times: usual})
		var before []*account.Account
		for _, n := range names {
			if a, err := lookup(t, cache, n); err == nil {
				a.Memory.Keep(a.Proof, "secret")
				before = append(before, a)
			}
		}
		s.asked.Store(0)
		flush := func() int { return cache.Flush(c.flush) }
		if c.flush == "" {
			flush = cache.FlushAll
		}
		if n := flush(); n != int(c.asked) {
			t.Errorf("flush %q says %d, want %d", c.flush, n, c.asked)
		}
		for i, n := range names {
			a, err := lookup(t, cache, n)
			want := c.flush != "" && (err != nil || !strings.EqualFold(a.Name, c.flush))
			if err == nil && a.Memory.Knows(a.Proof, "secret", true) != want {
				t.Errorf("flush %q: that the right password of %s is known is %v", c.flush, n, !want)
			}
			if err == nil && strings.EqualFold(a.Name, c.flush) && before[i].Memory.Knows(before[i].Proof, "secret", true) {
				t.Errorf("flush %q: a login on its way still knows the password of %s", c.flush, n)
			}
		}
		s.wasAsked(t, c.asked, "after flush "+c.flush)
	}
}

// What was asked before a flush says what was true before.
func TestAFlushHoldsForQuestionsOnTheirWay(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		var all sync.WaitGroup
		all.Go(func() { _, _ = lookup(t, c, "ann") })
		all.Go(func() {
			_, _ = c.Lookup(t.Context(), account.Query{Name: "ann", Protocol: "imap", Trace: &account.Trace{}})
		})
		time.Sleep(time.Second / 2)
		c.Flush("ann")
		s.slowlySays(account.Fields{"host": "west"})
		if a, err := lookup(t, c, "ann"); err != nil || a.Place.Hosts[0] != "west" {
			t.Errorf("who asks after the flush: %+v, %v", a, err)
		}
		all.Wait()
		if a, _ := lookup(t, c, "ann"); a.Place.Hosts[0] != "west" {
			t.Errorf("remembered: %+v", a)
		}
		if n := c.Asking(); n != 0 {
			t.Errorf("%d questions are left", n)
		}
		s.wasAsked(t, 3, "in all")
	})
}

// Whoever asks for names that are unknown, or known to a catch-all, pushes nobody out
// who has logged in, however many they are.
func TestNamesThatAreMadeUpPushNobodyOut(t *testing.T) {
	for what, made := range map[string]struct {
		record account.Record
		err    error
	}{
		"unknown":     {account.Record{}, account.ErrUnknown},
		"a catch-all": {account.Record{Fields: account.Fields{"password": "{PLAIN}another"}}, nil},
	} {
		s := &scripted{}
		s.does(func(_ context.Context, q account.Query) (account.Record, error) {
			if strings.HasPrefix(q.Name, "user") {
				return account.Record{Fields: account.Fields{"password": "{PLAIN}secret"}}, nil
			}
			return made.record, made.err
		})
		c := cached(t, s, account.CacheOptions{Times: usual, Size: 400})
		users := func() (known int) {
			for i := range 300 {
				a, err := lookup(t, c, fmt.Sprint("user", i))
				if err == nil && a.Memory.Knows(a.Proof, "secret", false) {
					known++
				}
			}
			return known
		}
		for i := range 300 {
			_, _ = login(t, c, fmt.Sprint("user", i), "secret")
		}
		for i := range 50_000 {
			_, _ = lookup(t, c, fmt.Sprint("attack", i))
		}
		s.asked.Store(0)
		if known := users(); known != 300 {
			t.Errorf("%s: the passwords of %d are known", what, known)
		}
		s.wasAsked(t, 0, what+": for users after an attack")
		c.FlushAll()
		_ = users()
		if n := settled(c, 100); n.Unknown > 100 || n.Entries > 100 {
			t.Errorf("%s: of those with whom no password was right there are %+v", what, n)
		}
	}
}

// The size is a bound also for those who log in.
func TestMoreAccountsThanThereIsRoomFor(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	c := cached(t, s, account.CacheOptions{Times: usual, Size: 400})
	for i := range 5000 {
		_, _ = login(t, c, fmt.Sprint("user", i), "secret")
	}
	if n := settled(c, 400); n.Entries > 400 || n.Entries < 300 {
		t.Errorf("%+v", n)
	}
}

func TestAFlushHoldsForATraceOnItsWay(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		var all sync.WaitGroup
		all.Go(func() { _, _ = c.Lookup(t.Context(), account.Query{Name: "ann", Trace: &account.Trace{}}) })
		time.Sleep(time.Second / 2)
		c.Flush("ann")
		all.Wait()
		if n := c.Stats(); n.Entries != 0 {
			t.Errorf("%+v", n)
		}
	})
}

func TestAnAnswerDoesNotReplaceANewerOne(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		var all sync.WaitGroup
		all.Go(func() {
			_, _ = c.Lookup(t.Context(), account.Query{Name: "ann", Protocol: "imap", Trace: &account.Trace{}})
		})
		time.Sleep(time.Second / 2)
		s.says(account.Fields{"host": "west"}, nil)
		_, _ = lookup(t, c, "ann")
		all.Wait()
		if a, err := lookup(t, c, "ann"); err != nil || a.Place.Hosts[0] != "west" {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// A login that is on its way after a reload has the memory of before.
func TestAFlushReachesWhatWasTakenOver(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	before, after := cached(t, s, account.CacheOptions{Times: usual}), cached(t, s, account.CacheOptions{Times: usual})
	a, _ := login(t, before, "ann", "secret")
	after.Inherit(before)
	if n := after.Flush("ann"); n != 1 || a.Memory.Knows(a.Proof, "secret", true) {
		t.Errorf("%d entries are flushed, the password is known: %v", n, a.Memory.Knows(a.Proof, "secret", true))
	}
}

// An answer that is on its way through a check when its account is flushed does not
// come back with the password.
func TestARightPasswordBringsNothingBack(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	c := cached(t, s, account.CacheOptions{Times: usual})
	a, _ := lookup(t, c, "ann")
	c.Flush("ann")
	a.Memory.Keep(a.Proof, "secret")
	if n := c.Stats(); n.Entries != 0 {
		t.Errorf("%+v", n)
	}
	b, _ := lookup(t, c, "ann")
	if b.Memory.Knows(b.Proof, "secret", true) {
		t.Error("the password is known")
	}
}

// settled waits until what is too much is gone.
func settled(c *account.Cache, entries int) (n account.CacheStats) {
	for range 100 {
		if n = c.Stats(); n.Entries <= entries && n.Unknown <= 100 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

func TestAReloadAsksAgainButForgetsNobody(t *testing.T) {
	s, l := &scripted{}, &logged{}
	s.says(ann, nil)
	synctest.Test(t, func(t *testing.T) {
		before, after := cached(t, s, account.CacheOptions{Times: usual}), cached(t, s, account.CacheOptions{Times: usual, Log: l.log()})
		a, _ := lookup(t, before, "ann")
		_, _ = lookup(t, before, "old")
		a.Memory.Keep(a.Proof, "secret")
		asked := time.Now()
		time.Sleep(usual.Good)
		s.says(nil, account.ErrUnknown)
		_, _ = lookup(t, before, "bob")
		after.Inherit(before)
		s.asked.Store(0)
		s.says(nil, errDown)
		for range 2 {
			got, err := lookup(t, after, "ann")
			if err != nil || !got.Asked.Equal(asked) || !got.Memory.Knows(got.Proof, "secret", true) {
				t.Errorf("while the source is down: %+v, %v", got, err)
			}
		}
		s.wasAsked(t, 2, "while it is down")
		if _, err := lookup(t, after, "bob"); !errors.Is(err, errDown) {
			t.Errorf("who was unknown is %v", err)
		}
		s.says(account.Fields{"host": "west"}, nil)
		for range 2 {
			if got, err := lookup(t, after, "ann"); err != nil || got.Place.Hosts[0] != "west" {
				t.Errorf("when it is back: %+v, %v", got, err)
			}
		}
		s.says(nil, errDown)
		time.Sleep(usual.Stale - usual.Good)
		if _, err := lookup(t, after, "old"); !errors.Is(err, errDown) {
			t.Errorf("after a day, reload or not: %v", err)
		}
		if _, err := lookup(t, after, "ann"); err != nil {
			t.Errorf("what was asked after the reload: %v", err)
		}
	})
}
