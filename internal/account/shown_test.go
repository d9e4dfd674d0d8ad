package account_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"usher/internal/account"
)

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
	near := &account.Reader{Name: "test", Source: s}
	a, err := near.Lookup(t.Context(), account.Query{Name: line[1:4]})
	if err != nil || unsafe.StringData(account.RememberedName(a)) == unsafe.StringData(line[1:4]) {
		t.Errorf("the memory of a source that is near holds what the client has sent, or %v", err)
	}
}

func TestOnePasswordSaysNothingOfAnother(t *testing.T) {
	s := door(map[string]string{"ann": "old"})
	in(t, s, account.CacheOptions{Times: usual}, func(t *testing.T, c *account.Cache) {
		before, _ := login(t, c, "ann", "old")
		s.opens(map[string]string{"ann": "new"})
		after, err := c.Lookup(t.Context(), account.Query{Name: "ann", Protocol: "imap", Password: "new"})
		if err != nil || before.Memory != after.Memory {
			t.Fatal(err)
		}
		if after.Memory.Knows(after.Proof, "old", false) || after.Memory.Knows(after.Proof, "old", true) {
			t.Error("the old password is right for an account whose source has seen the new one")
		}
	})
}

// What is asked for many must not depend on what one has shown.
func TestASourceThatDoesNotLookAtPasswordsSeesNone(t *testing.T) {
	s := &scripted{}
	s.does(func(_ context.Context, q account.Query) (account.Record, error) {
		if q.Password != "" || q.Answer != nil {
			t.Errorf("it sees %q and %v", q.Password, q.Answer)
		}
		return account.Record{Fields: ann}, nil
	})
	c := cached(t, s, account.CacheOptions{Times: usual})
	for _, tr := range []*account.Trace{nil, {}} {
		if _, err := c.Lookup(t.Context(), account.Query{Name: "ann", Password: "secret", Answer: &account.Answer{}, Fresh: true, Trace: tr}); err != nil {
			t.Error(err)
		}
	}
}
