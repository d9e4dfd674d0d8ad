package account_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
)

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
	s.does(func(ctx context.Context, _ account.Query) (account.Record, error) {
		<-ctx.Done()
		return account.Record{}, ctx.Err()
	})
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
	s.does(func(ctx context.Context, _ account.Query) (account.Record, error) {
		<-ctx.Done()
		return account.Record{}, ctx.Err()
	})
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
		if list := l.lines(); len(list) != 2 || !strings.Contains(list[0], "oops") || !strings.Contains(list[0], "asking_test.go") {
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
				switch j % 100 {
				case 50:
					c.Flush(q.Name)
				case 70:
					c.FlushAll()
				case 90:
					next.Inherit(c)
					c.Stats()
				}
			}
		})
	}
	all.Wait()
}
