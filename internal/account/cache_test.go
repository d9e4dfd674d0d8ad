package account_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

func TestCacheConformance(t *testing.T) {
	known := &scripted{}
	known.does(func(_ context.Context, q account.Query) (account.Record, error) {
		if q.Name != "ann" {
			return account.Record{}, account.ErrUnknown
		}
		return account.Record{Fields: account.Fields{"password": "{PLAIN}secret"}}, nil
	})
	accounttest.Run(t, cached(t, known, account.CacheOptions{Times: usual}), accounttest.World{User: "ann", Password: "secret", Unknown: "bob"})
	accounttest.Run(t, cached(t, known, account.CacheOptions{}), accounttest.World{User: "ann", Password: "secret", Unknown: "bob"})

	shows := &scripted{uses: account.UsesPassword}
	shows.does(func(_ context.Context, q account.Query) (account.Record, error) {
		if q.Name != "ann" || q.Password != "secret" {
			return account.Record{}, account.ErrRefused
		}
		return account.Record{Proven: true}, nil
	})
	accounttest.Run(t, cached(t, shows, account.CacheOptions{Times: usual}), accounttest.World{User: "ann", Password: "secret", Unknown: "bob", Shown: true})
}

func TestAnAccountIsAskedForOnceAnHour(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		first, err := lookup(t, c, "ann")
		if err != nil || !first.Asked.IsZero() || first.Source != "test" {
			t.Fatalf("%+v, %v", first, err)
		}
		began := time.Now()
		time.Sleep(usual.Good - 1)
		a, err := lookup(t, c, "ann")
		if err != nil || a.Name != "ann@example.org" || !a.Asked.Equal(began) || a.Proof == nil || a.Memory != first.Memory {
			t.Errorf("from memory: %+v, %v", a, err)
		}
		b, _ := lookup(t, c, "ann")
		if a != b {
			t.Error("who asks gets a copy")
		}
		s.wasAsked(t, 1, "within the hour")
		time.Sleep(time.Nanosecond)
		if a, err := lookup(t, c, "ann"); err != nil || !a.Asked.IsZero() {
			t.Errorf("after an hour: %+v, %v", a, err)
		}
		s.wasAsked(t, 1, "after an hour")
		if n := c.Stats(); n.Hits != 2 || n.Misses != 2 || n.Entries != 1 || n.Oldest != 0 || n.Stale != 0 {
			t.Errorf("counted: %+v", n)
		}
	})
}

func TestAnUnknownNameIsAskedForTwiceAMinute(t *testing.T) {
	s := &scripted{}
	s.says(nil, account.ErrUnknown)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		for range 3 {
			if _, err := lookup(t, c, "bob"); !errors.Is(err, account.ErrUnknown) {
				t.Fatal(err)
			}
		}
		s.wasAsked(t, 1, "at first")
		if n := c.Stats(); n.Unknown != 1 || n.Entries != 0 || n.Hits != 2 {
			t.Errorf("counted: %+v", n)
		}
		time.Sleep(usual.Unknown)
		s.says(nil, errDown)
		if _, err := lookup(t, c, "bob"); !errors.Is(err, errDown) {
			t.Errorf("while the source is down an unknown name is %v", err)
		}
		s.says(ann, nil)
		if _, err := lookup(t, c, "bob"); err != nil {
			t.Errorf("after half a minute: %v", err)
		}
	})
}

func TestWhoIsNewIsKnownAfterAFreshQuestion(t *testing.T) {
	s := &scripted{}
	s.says(nil, account.ErrUnknown)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		_, _ = lookup(t, c, "ann")
		s.says(ann, nil)
		_, fresh := fresh(t, c, "ann")
		_, after := lookup(t, c, "ann")
		if fresh != nil || after != nil {
			t.Errorf("%v, then %v", fresh, after)
		}
		s.wasAsked(t, 2, "in all")
	})
}

func TestWhatIsNoAnswerIsNotRemembered(t *testing.T) {
	s := &scripted{}
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		for _, no := range []error{account.ErrRefused, errDown} {
			s.says(nil, no)
			for range 3 {
				if _, err := lookup(t, c, "ann"); !errors.Is(err, no) {
					t.Errorf("%v, want %v", err, no)
				}
			}
			s.wasAsked(t, 3, no.Error())
		}
	})
}

func TestZeroSwitchesAMemoryOff(t *testing.T) {
	for name, c := range map[string]struct {
		times                account.Times
		known, unknown, down int32 // questions
		works                bool  // while the source is down
	}{
		"all":     {usual, 1, 1, 1, true},
		"good":    {account.Times{Unknown: time.Minute, Stale: time.Hour}, 2, 1, 1, true},
		"unknown": {account.Times{Good: time.Minute, Stale: time.Hour}, 1, 2, 1, true},
		"stale":   {account.Times{Good: time.Minute, Unknown: time.Minute}, 1, 1, 1, false},
		"nothing": {account.Times{}, 2, 2, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{}
			in(t, s, account.CacheOptions{Times: c.times}, func(t *testing.T, cache *account.Cache) {
				ask := func(name string, f account.Fields, says error) (err error) {
					s.says(f, says)
					for range 2 {
						_, err = lookup(t, cache, name)
						time.Sleep(time.Second)
					}
					return err
				}
				_ = ask("ann", ann, nil)
				s.wasAsked(t, c.known, "for ann")
				_ = ask("bob", nil, account.ErrUnknown)
				s.wasAsked(t, c.unknown, "for bob")
				time.Sleep(c.times.Good)
				s.says(nil, errDown)
				if _, err := lookup(t, cache, "ann"); (err == nil) != c.works {
					t.Errorf("while the source is down: %v", err)
				}
				s.wasAsked(t, c.down, "while it is down")
			})
		})
	}
}

func TestWhileTheSourceIsDownItsOldAnswersHold(t *testing.T) {
	s, l := &scripted{}, &logged{}
	s.says(ann, nil)
	in(t, s, account.CacheOptions{Times: usual, Log: l.log()}, func(t *testing.T, c *account.Cache) {
		began := time.Now()
		_, _ = lookup(t, c, "ann")
		s.says(nil, errDown)
		time.Sleep(usual.Good)
		for range 3 {
			if a, err := lookup(t, c, "ann"); err != nil || !a.Asked.Equal(began) {
				t.Fatalf("%+v, %v", a, err)
			}
			if _, err := lookup(t, c, "bob"); !errors.Is(err, errDown) {
				t.Errorf("bob, of whom nothing is known: %v", err)
			}
			if _, err := fresh(t, c, "ann"); !errors.Is(err, errDown) {
				t.Errorf("what must not come from memory: %v", err)
			}
		}
		s.wasAsked(t, 10, "each time")
		if list := l.lines(); len(list) != 1 || !strings.Contains(list[0], "cannot be asked") || !strings.Contains(list[0], "connection refused") {
			t.Errorf("logged when it began: %q", list)
		}
		if n := c.Stats(); n.Stale != 3 {
			t.Errorf("counted: %+v", n)
		}
		time.Sleep(usual.Stale - usual.Good)
		if _, err := lookup(t, c, "ann"); !errors.Is(err, errDown) {
			t.Errorf("after a day: %v", err)
		}
		s.says(ann, nil)
		for range 3 {
			_, _ = fresh(t, c, "ann")
		}
		if list := l.lines(); len(list) != 2 || !strings.Contains(list[1], "answers again") || !strings.Contains(list[1], "logins=3") {
			t.Errorf("logged when it was over: %q", list)
		}
	})
}

// A source that has answered is not down: if its answer cannot be right, the old one
// may be wrong, too.
func TestAnAccountThatIsWrongIsNotServedFromMemory(t *testing.T) {
	s, l := &scripted{}, &logged{}
	s.says(ann, nil)
	in(t, s, account.CacheOptions{Times: usual, Log: l.log()}, func(t *testing.T, c *account.Cache) {
		_, _ = lookup(t, c, "ann")
		time.Sleep(usual.Good)
		s.says(account.Fields{"port": "many"}, nil)
		for _, name := range []string{"ann", "bob"} {
			if _, err := lookup(t, c, name); err == nil || !strings.Contains(err.Error(), `field "port"`) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.says(nil, errors.New("down"))
		if a, err := lookup(t, c, "ann"); err == nil {
			t.Errorf("in an outage after that she lives on %v", a.Place.Hosts)
		}
		if list := strings.Join(l.lines(), ""); list != "" {
			t.Errorf("an outage was logged: %q", list)
		}
	})
}

func TestAFreshQuestionReplacesWhatIsRemembered(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		_, _ = lookup(t, c, "ann")
		time.Sleep(time.Second)
		s.says(account.Fields{"password": "{PLAIN}new", "host": "west"}, nil)
		if a, err := fresh(t, c, "ann"); err != nil || a.Place.Hosts[0] != "west" {
			t.Errorf("%+v, %v", a, err)
		}
		if a, _ := lookup(t, c, "ann"); a.Place.Hosts[0] != "west" {
			t.Errorf("later: %+v", a)
		}
		s.says(nil, account.ErrUnknown)
		if _, err := fresh(t, c, "ann"); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("when she has left: %v", err)
		}
		s.says(nil, errDown)
		if _, err := lookup(t, c, "ann"); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("a moment later: %v", err)
		}
		time.Sleep(usual.Unknown)
		if _, err := lookup(t, c, "ann"); !errors.Is(err, errDown) {
			t.Errorf("her account comes back: %v", err)
		}
	})
}

func TestATraceSaysWhatWasRemembered(t *testing.T) {
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		q.Trace.Asks("server", "a question")
		if q.Name != "ann" {
			return account.Record{}, account.ErrUnknown
		}
		return account.Record{Fields: ann}, nil
	})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		trace := func(name string) (steps []account.Step) {
			tr := &account.Trace{}
			_, _ = c.Lookup(t.Context(), account.Query{Name: name, Trace: tr})
			return tr.Steps
		}
		if st := trace("ann"); len(st) != 1 || len(st[0].Asked) != 1 || st[0].Cached || st[0].Source != "test" {
			t.Errorf("asked: %+v", st)
		}
		time.Sleep(time.Minute)
		if st := trace("ann"); len(st) != 1 || len(st[0].Asked) != 0 || !st[0].Cached || st[0].Age != time.Minute || st[0].Source != "test" {
			t.Errorf("remembered: %+v", st)
		}
		_ = trace("bob")
		time.Sleep(time.Second)
		if st := trace("bob"); len(st) != 1 || !st[0].Cached || st[0].Age != time.Second || !errors.Is(st[0].Err, account.ErrUnknown) {
			t.Errorf("remembered as unknown: %+v", st)
		}
		time.Sleep(usual.Good)
		s.says(nil, errDown)
		if st := trace("ann"); len(st) != 2 || !errors.Is(st[0].Err, errDown) || !st[1].Cached || st[1].Age <= usual.Good {
			t.Errorf("while the source is down: %+v", st)
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	s := &scripted{uses: account.UsesRemote | account.UsesLocal | account.UsesServerName | account.UsesTLS}
	s.says(ann, nil)
	c := cached(b, s, account.CacheOptions{Times: usual, Size: 100_000})
	q := account.Query{
		Name: "ann@example.org", Protocol: "imap", ServerName: "mail.example.org", TLS: true, Password: "secret",
		Remote: netip.MustParseAddrPort("192.0.2.1:1000"), Local: netip.MustParseAddrPort("192.0.2.9:143"),
	}
	if _, err := c.Lookup(b.Context(), q); err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Lookup(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
}
