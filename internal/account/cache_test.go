package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A scripted source says what the test wants.
type scripted struct {
	uses   account.Uses
	asked  atomic.Int32
	mu     sync.Mutex
	answer func(ctx context.Context, q account.Query) (account.Record, error)
}

func (s *scripted) Ask(ctx context.Context, q account.Query) (account.Record, error) {
	s.asked.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	return answer(ctx, q)
}

func (s *scripted) Uses() account.Uses { return s.uses }

// says changes what the source answers.
func (s *scripted) says(f account.Fields, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(context.Context, account.Query) (account.Record, error) { return account.Record{Fields: f}, err }
}

// does changes how the source answers.
func (s *scripted) does(f func(ctx context.Context, q account.Query) (account.Record, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

var (
	errDown = errors.New("connection refused")
	usual   = account.Times{Good: time.Hour, Unknown: 30 * time.Second, Stale: 24 * time.Hour}
	ann     = account.Fields{"user": "ann@example.org", "password": "{PLAIN}secret", "host": "east"}
)

// log is a log that tests read.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n")
}

func (l *logged) log() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// cached is a cache around a source, closed at the end of the test.
func cached(t testing.TB, s account.Source, o account.CacheOptions) *account.Cache {
	t.Helper()
	c := account.NewCache(&account.Reader{Name: "test", Source: s, Times: o.Times}, o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// in runs a test of a cache in a bubble, whose clock it may turn.
func in(t *testing.T, s *scripted, o account.CacheOptions, test func(t *testing.T, c *account.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, cached(t, s, o)) })
}

func lookup(t testing.TB, c *account.Cache, name string) (*account.Account, error) {
	t.Helper()
	return c.Lookup(t.Context(), account.Query{Name: name, Protocol: "imap"})
}

func fresh(t testing.TB, c *account.Cache, name string) (*account.Account, error) {
	t.Helper()
	return c.Lookup(t.Context(), account.Query{Name: name, Protocol: "imap", Fresh: true})
}

// wasAsked checks how often the source was asked since the last time.
func (s *scripted) wasAsked(t testing.TB, want int32, when string) {
	t.Helper()
	if got := s.asked.Swap(0); got != want {
		t.Errorf("%s: the source was asked %d times, want %d", when, got, want)
	}
}

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
		time.Sleep(1)
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

// One wrong row is told, but it is no outage, and does not lock its owner out.
func TestAnAccountThatIsWrongStaysAsItWas(t *testing.T) {
	s, l := &scripted{}, &logged{}
	s.says(ann, nil)
	in(t, s, account.CacheOptions{Times: usual, Log: l.log()}, func(t *testing.T, c *account.Cache) {
		_, _ = lookup(t, c, "ann")
		time.Sleep(usual.Good)
		s.says(account.Fields{"port": "many"}, nil)
		for range 5 {
			if a, err := lookup(t, c, "ann"); err != nil || a.Place.Hosts[0] != "east" {
				t.Errorf("%+v, %v", a, err)
			}
			if _, err := lookup(t, c, "bob"); err == nil || !strings.Contains(err.Error(), `field "port"`) {
				t.Errorf("who was not known before: %v", err)
			}
		}
		if list := l.lines(); len(list) != 1 || !strings.Contains(list[0], `field \"port\"`) || !strings.Contains(list[0], "ann@example.org") {
			t.Errorf("logged: %q", list)
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

// together has many ask the same at once and returns what they got.
func together(t *testing.T, c *account.Cache, n int, q account.Query) (oks int32) {
	t.Helper()
	var ok atomic.Int32
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := c.Lookup(t.Context(), q); err == nil {
				ok.Add(1)
			}
		})
	}
	all.Wait()
	return ok.Load()
}

// slowly has the source take a second for an answer.
func (s *scripted) slowly(answer func(q account.Query) (account.Record, error)) {
	s.does(func(ctx context.Context, q account.Query) (account.Record, error) {
		select {
		case <-time.After(time.Second):
			return answer(q)
		case <-ctx.Done():
			return account.Record{}, ctx.Err()
		}
	})
}

func (s *scripted) slowlySays(f account.Fields) {
	s.slowly(func(account.Query) (account.Record, error) { return account.Record{Fields: f}, nil })
}

func TestAThousandLoginsAreOneQuestion(t *testing.T) {
	for name, times := range map[string]account.Times{"usual": usual, "nothing is remembered": {}} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{}
			s.slowlySays(ann)
			in(t, s, account.CacheOptions{Times: times}, func(t *testing.T, c *account.Cache) {
				if ok := together(t, c, 1000, account.Query{Name: "ann"}); ok != 1000 {
					t.Errorf("%d got in", ok)
				}
				s.wasAsked(t, 1, "by a thousand")
				if n := c.Stats(); n.Joined != 999 || n.Misses != 1000 {
					t.Errorf("counted: %+v", n)
				}
			})
		})
	}
}

func TestAQuestionGoesOnWhenWhoWasFirstLeaves(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		first, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			began := time.Now()
			if _, err := c.Lookup(first, account.Query{Name: "ann"}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, account.ErrUnknown) {
				t.Errorf("who leaves hears %v", err)
			}
			if took := time.Since(began); took != time.Second/2 {
				t.Errorf("who leaves has waited for %v", took)
			}
		})
		synctest.Wait()
		asked := time.Now()
		time.Sleep(time.Second / 4)
		a, err := c.Lookup(t.Context(), account.Query{Name: "ann"})
		if err != nil || !a.Asked.Equal(asked) { // it was asked before this one came: so a wrong password is asked for again
			t.Errorf("the other: %+v, %v", a, err)
		}
		all.Wait()
		s.wasAsked(t, 1, "by two")
	})
}

func TestAQuestionEndsSomeTime(t *testing.T) {
	s := &scripted{}
	s.does(func(ctx context.Context, _ account.Query) (account.Record, error) { <-ctx.Done(); return account.Record{}, ctx.Err() })
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		began := time.Now()
		if _, err := lookup(t, c, "ann"); err == nil || time.Since(began) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n := c.Asking(); n != 0 {
			t.Errorf("%d questions are left", n)
		}
	})
}

func TestClosingEndsQuestions(t *testing.T) {
	s := &scripted{}
	s.does(func(ctx context.Context, _ account.Query) (account.Record, error) { <-ctx.Done(); return account.Record{}, ctx.Err() })
	synctest.Test(t, func(t *testing.T) {
		c := account.NewCache(&account.Reader{Name: "test", Source: s}, account.CacheOptions{Times: usual})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = c.Lookup(ctx, account.Query{Name: "ann"})
		began := time.Now()
		if err := c.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close takes %v: %v", time.Since(began), err)
		}
		if _, err := lookup(t, c, "ann"); err == nil {
			t.Error("a closed cache answers")
		}
	})
}

// An answer that is on its way may be older than the password that was changed.
func TestAFreshQuestionIsNotAnsweredByAnOlderOne(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		var all sync.WaitGroup
		all.Go(func() { _, _ = lookup(t, c, "ann") })
		time.Sleep(time.Second / 2)
		began := time.Now()
		all.Go(func() {
			s.slowlySays(account.Fields{"host": "west"}) // what is asked from now on
			if ok := together(t, c, 500, account.Query{Name: "ann", Protocol: "imap", Fresh: true}); ok != 500 {
				t.Errorf("%d got an answer", ok)
			}
			if took := time.Since(began); took != 3*time.Second/2 {
				t.Errorf("it took %v", took)
			}
		})
		synctest.Wait()
		time.Sleep(time.Second / 4)
		if a, err := fresh(t, c, "ann"); err != nil || a.Place.Hosts[0] != "west" { // one that came later is content with that one, too
			t.Errorf("%+v, %v", a, err)
		}
		all.Wait()
		s.wasAsked(t, 2, "in all")
		if a, _ := lookup(t, c, "ann"); a.Place.Hosts[0] != "west" {
			t.Errorf("remembered: %+v", a)
		}
	})
}

func TestAPanicInASourceIsAnError(t *testing.T) {
	s, l := &scripted{}, &logged{}
	s.slowly(func(account.Query) (account.Record, error) { panic("oops") })
	in(t, s, account.CacheOptions{Times: usual, Log: l.log()}, func(t *testing.T, c *account.Cache) {
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := lookup(t, c, "ann"); err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) {
					t.Errorf("%v", err)
				}
			})
		}
		time.Sleep(time.Second / 2)
		all.Go(func() { _, _ = fresh(t, c, "ann") })
		all.Wait()
		s.says(ann, nil)
		if _, err := lookup(t, c, "ann"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if list := l.lines(); len(list) != 2 || !strings.Contains(list[0], "oops") || !strings.Contains(list[0], "cache_test.go") {
			t.Errorf("logged: %q", list)
		}
	})
}

func TestThereIsABoundToQuestionsOnTheirWay(t *testing.T) {
	s := &scripted{}
	s.slowlySays(ann)
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		gone, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10_001 {
			all.Go(func() { _, _ = c.Lookup(gone, account.Query{Name: fmt.Sprint(i)}) })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		s.wasAsked(t, 10_000, "by many who left")
		if _, err := lookup(t, c, "ann"); err == nil || !strings.Contains(err.Error(), "too slow") {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := lookup(t, c, "ann"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// door is a source that says who somebody is only together with the password.
func door(passwords map[string]string) *scripted {
	s := &scripted{uses: account.UsesPassword}
	s.opens(passwords)
	return s
}

func (s *scripted) opens(passwords map[string]string) {
	s.slowly(func(q account.Query) (account.Record, error) {
		switch right, ok := passwords[q.Name]; {
		case !ok:
			return account.Record{}, account.ErrUnknown
		case q.Answer == nil && q.Password != right, q.Answer != nil && q.Answer.Response != right:
			return account.Record{}, account.ErrRefused
		}
		return account.Record{Fields: account.Fields{"host": "east"}, Proven: q.Password != "" || q.Answer != nil}, nil
	})
}

func TestAPasswordThatIsShownIsRightForItselfOnly(t *testing.T) {
	s := door(map[string]string{"ann": "secret"})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		show := func(password string) (*account.Account, error) {
			return c.Lookup(t.Context(), account.Query{Name: "ann", Password: password})
		}
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				_, right := show("secret")
				_, wrong := c.Lookup(t.Context(), account.Query{Name: "ann", Password: fmt.Sprint("wrong", i), Fresh: true})
				if right != nil || !errors.Is(wrong, account.ErrRefused) {
					t.Errorf("right: %v, wrong: %v", right, wrong)
				}
			})
		}
		all.Wait()
		s.wasAsked(t, 21, "with 21 passwords")
		a, err := show("secret")
		if err != nil || a.Asked.IsZero() || a.Proof.Check(t.Context(), "secret") != nil {
			t.Errorf("from memory: %+v, %v", a, err)
		}
		s.wasAsked(t, 0, "with the right one")
		if a, err := show("wrong"); !errors.Is(err, account.ErrRefused) {
			t.Errorf("with another: %+v, %v", a, err)
		}
		s.wasAsked(t, 1, "with another")
		s.says(nil, errDown)
		time.Sleep(usual.Good)
		_, right := show("secret")
		_, wrong := show("wrong")
		if right != nil || !errors.Is(wrong, errDown) {
			t.Errorf("while the source is down: %v with the right one, %v with another", right, wrong)
		}
	})
}

func TestASourceThatLooksAtPasswordsNeverLeavesANameUnknown(t *testing.T) {
	s := door(map[string]string{})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		for range 3 {
			_, _ = c.Lookup(t.Context(), account.Query{Name: "bob", Password: "x"})
		}
		s.wasAsked(t, 3, "for an unknown name")
	})
}

// What one has shown must not let in another, who has shown nothing, or an answer to
// a challenge that the source has not seen.
func TestAnAnswerToAChallengeIsAlwaysAskedFor(t *testing.T) {
	s := door(map[string]string{"ann": "secret"})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		_, _ = c.Lookup(t.Context(), account.Query{Name: "ann", Password: "secret"})
		for _, q := range []account.Query{
			{Name: "ann", Answer: &account.Answer{Response: "wrong"}},
			{Name: "ann", Answer: &account.Answer{Response: "wrong"}, Password: "secret"},
			{Name: "ann"},
		} {
			if a, err := c.Lookup(t.Context(), q); !errors.Is(err, account.ErrRefused) {
				t.Errorf("%+v: %+v, %v", q, a, err)
			}
		}
		for range 2 {
			if _, err := c.Lookup(t.Context(), account.Query{Name: "ann", Answer: &account.Answer{Response: "secret"}}); err != nil {
				t.Error(err)
			}
		}
		s.wasAsked(t, 6, "in all")
		s.says(nil, errDown)
		if _, err := c.Lookup(t.Context(), account.Query{Name: "ann", Answer: &account.Answer{Response: "secret"}, Fresh: false}); !errors.Is(err, errDown) {
			t.Errorf("while the source is down: %v", err)
		}
	})
}

func TestWhatProvesNothingIsNotRememberedForOtherPasswords(t *testing.T) {
	s := &scripted{uses: account.UsesPassword}
	s.says(account.Fields{"host": "east"}, nil) // known with this password, and the backend checks
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		for _, p := range []string{"a", "b", "a"} {
			_, _ = c.Lookup(t.Context(), account.Query{Name: "ann", Password: p})
		}
		s.wasAsked(t, 3, "with three passwords")
	})
}

// Else the old password would be right again in the next outage.
func TestAPasswordThatTheSourceTakesBackIsForgotten(t *testing.T) {
	s := door(map[string]string{"ann": "old"})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		q := account.Query{Name: "ann", Password: "old"}
		a, err := c.Lookup(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		a.Memory.Keep(a.Proof, "old")
		time.Sleep(usual.Good)
		s.opens(map[string]string{"ann": "new"})
		if _, err := c.Lookup(t.Context(), account.Query{Name: "ann", Password: "mistyped"}); !errors.Is(err, account.ErrRefused) {
			t.Error(err)
		}
		if n := c.Stats(); n.Entries != 1 {
			t.Errorf("a password that was never right has made it forget: %+v", n)
		}
		if _, err := c.Lookup(t.Context(), q); !errors.Is(err, account.ErrRefused) {
			t.Error(err)
		}
		s.says(nil, errDown)
		if a, err := c.Lookup(t.Context(), q); !errors.Is(err, errDown) {
			t.Errorf("while the source is down: %+v, %v", a, err)
		}
		if a.Memory.Knows(a.Proof, "old", true) {
			t.Error("the old password is still known")
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
		n := 0
		if c.flush == "" {
			n = cache.FlushAll()
		} else {
			n = cache.Flush(c.flush)
		}
		if n != int(c.asked) {
			t.Errorf("flush %q says %d, want %d", c.flush, n, c.asked)
		}
		for i, n := range names {
			a, err := lookup(t, cache, n)
			if err == nil && a.Memory.Knows(a.Proof, "secret", true) == (c.flush == "" || strings.EqualFold(a.Name, c.flush)) {
				t.Errorf("flush %q: the right password of %s is known: %v", c.flush, n, !(c.flush == ""))
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

func TestUnknownNamesPushNobodyOut(t *testing.T) {
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		if strings.HasPrefix(q.Name, "user") {
			return account.Record{Fields: ann}, nil
		}
		return account.Record{}, account.ErrUnknown
	})
	c := cached(t, s, account.CacheOptions{Times: usual, Size: 400})
	for i := range 300 {
		_, _ = lookup(t, c, fmt.Sprint("user", i))
	}
	for i := range 20_000 {
		_, _ = lookup(t, c, fmt.Sprint("attack", i))
	}
	s.asked.Store(0)
	for i := range 300 {
		_, _ = lookup(t, c, fmt.Sprint("user", i))
	}
	s.wasAsked(t, 0, "for users after an attack")
	if n := settled(c); n.Unknown > 100 || n.Entries != 300 {
		t.Errorf("%+v", n)
	}
}

// A catch-all makes every name an account.
func TestManyAccountsPushOutFewOfThoseThatComeBack(t *testing.T) {
	s := &scripted{}
	s.says(ann, nil)
	c := cached(t, s, account.CacheOptions{Times: usual, Size: 400})
	for range 5 {
		for i := range 200 {
			_, _ = lookup(t, c, fmt.Sprint("user", i))
		}
	}
	for i := range 20_000 {
		_, _ = lookup(t, c, fmt.Sprint("attack", i))
	}
	s.asked.Store(0)
	for i := range 200 {
		_, _ = lookup(t, c, fmt.Sprint("user", i))
	}
	if n := s.asked.Load(); n > 60 {
		t.Errorf("%d of 200 were pushed out", n)
	}
	if n := settled(c); n.Entries > 400 {
		t.Errorf("%+v", n)
	}
}

// settled waits until what is too much is gone.
func settled(c *account.Cache) (n account.CacheStats) {
	for range 100 {
		if n = c.Stats(); n.Entries <= 400 && n.Unknown <= 100 {
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

// A name that a client sends is a part of what it sends, and so is the password.
func TestAPasswordDoesNotStayWithTheName(t *testing.T) {
	line := strings.Clone("\x00ann\x00secret")
	s := &scripted{}
	s.says(account.Fields{"password": "{PLAIN}secret"}, nil)
	c := cached(t, s, account.CacheOptions{Times: usual})
	for range 2 {
		a, err := lookup(t, c, line[1:4])
		if err != nil || a.Name != "ann" {
			t.Fatal(a, err)
		}
		if unsafe.StringData(a.Name) == unsafe.StringData(line[1:4]) {
			t.Error("the account holds what the client has sent")
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		switch n := len(q.Name); {
		case n%3 == 0:
			return account.Record{}, account.ErrUnknown
		case n%5 == 0:
			return account.Record{}, errDown
		}
		return account.Record{Fields: ann}, nil
	})
	c, next := cached(t, s, account.CacheOptions{Times: usual, Size: 20}), cached(t, s, account.CacheOptions{Times: usual, Size: 20})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 500 {
				q := account.Query{Name: strings.Repeat("x", 1+(i*j)%50), Fresh: j%7 == 0}
				if a, err := c.Lookup(t.Context(), q); err == nil {
					a.Memory.Keep(a.Proof, "secret")
				}
				switch {
				case j%100 == 50:
					c.Flush(q.Name)
				case j%100 == 70:
					c.FlushAll()
				case j%100 == 90:
					next.Inherit(c)
					c.Stats()
				}
			}
		})
	}
	all.Wait()
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
