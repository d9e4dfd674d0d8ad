package auth

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
)

// An office is a source whose people the test may change. Its passwords are right by
// what it says, or by what it is asked.
type office struct {
	mu        sync.Mutex
	passwords map[string]string
	down      error
	asks      bool // a password is checked by a question
	asked     int
}

func (o *office) become(passwords map[string]string, down error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passwords, o.down, o.asked = maps.Clone(passwords), down, 0
}

func (o *office) Ask(_ context.Context, q account.Query) (account.Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	password, ok := o.passwords[q.Name]
	switch {
	case o.down != nil:
		return account.Record{}, o.down
	case !ok:
		return account.Record{}, account.ErrUnknown
	case o.asks:
		return account.Record{Proof: bind{o, q.Name}}, nil
	}
	return account.Record{Fields: account.Fields{"password": "{PLAIN}" + password}}, nil
}

// bind is a proof that asks the office, as LDAP does.
type bind struct {
	office *office
	name   string
}

func (b bind) Identity() string { return b.name }

func (b bind) Check(_ context.Context, clear string) error {
	b.office.mu.Lock()
	defer b.office.mu.Unlock()
	b.office.asked++
	switch {
	case b.office.down != nil:
		return b.office.down
	case b.office.passwords[b.name] != clear:
		return account.ErrRefused
	}
	return nil
}

var (
	errNoAnswer = errors.New("connection refused")
	memory      = account.Times{Good: time.Hour, Unknown: 30 * time.Second, Stale: 24 * time.Hour}
)

// remembering tests an Auth over a cache of the office, with both kinds of proof.
func remembering(t *testing.T, test func(t *testing.T, o *office, login func(name, password string) error)) {
	for name, asks := range map[string]bool{"a hash": false, "a question": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &office{asks: asks}
				c := account.NewCache(&account.Reader{Name: "office", Source: o, Times: memory}, account.CacheOptions{Times: memory})
				defer func() { _ = c.Close() }()
				a := New(c, "{PLAIN}decoy", 2)
				test(t, o, func(name, password string) error {
					time.Sleep(time.Millisecond) // no two logins come at the same time
					id, err := a.Verifier(account.Query{Protocol: "imap"}, "").Password(t.Context(), "", name, password)
					if (err == nil) != (id.Account != nil && id.Proven) {
						t.Errorf("%s with %q: %+v, %v", name, password, id, err)
					}
					return err
				})
			})
		})
	}
}

func is(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestARightPasswordCostsNoQuestion(t *testing.T) {
	remembering(t, func(t *testing.T, o *office, login func(name, password string) error) {
		o.become(map[string]string{"ann": "secret"}, nil)
		is(t, "the first", login("ann", "secret"), nil)
		asked := o.asked
		for range 10 {
			is(t, "another", login("ann", "secret"), nil)
		}
		if o.asked != asked {
			t.Errorf("ten logins are %d questions", o.asked-asked)
		}
	})
}

func TestAChangedPasswordIsRightAtOnce(t *testing.T) {
	remembering(t, func(t *testing.T, o *office, login func(name, password string) error) {
		o.become(map[string]string{"ann": "old"}, nil)
		is(t, "the old one", login("ann", "old"), nil)
		o.become(map[string]string{"ann": "new"}, nil)
		is(t, "a wrong one", login("ann", "wrong"), account.ErrRefused)
		is(t, "the new one", login("ann", "new"), nil)
		is(t, "the old one", login("ann", "old"), account.ErrRefused)
		is(t, "the new one again", login("ann", "new"), nil)
	})
}

func TestAnOutageLetsRightPasswordsInAndCallsNoneWrong(t *testing.T) {
	remembering(t, func(t *testing.T, o *office, login func(name, password string) error) {
		o.become(map[string]string{"ann": "secret", "bob": "secret"}, nil)
		is(t, "ann before", login("ann", "secret"), nil)
		o.become(nil, errNoAnswer)
		for range 3 {
			is(t, "ann", login("ann", "secret"), nil)
			is(t, "ann with a wrong password", login("ann", "wrong"), errNoAnswer)
			is(t, "bob, who has not been here", login("bob", "secret"), errNoAnswer)
			is(t, "nobody", login("nobody", "secret"), errNoAnswer)
			time.Sleep(memory.Good)
		}
		time.Sleep(memory.Stale)
		is(t, "ann after a day", login("ann", "secret"), errNoAnswer)
		o.become(map[string]string{"ann": "secret"}, nil)
		is(t, "ann when it is over", login("ann", "secret"), nil)
		is(t, "bob, who has left", login("bob", "secret"), account.ErrUnknown)
	})
}

// Nobody gets in by an outage who would not without.
func TestAPasswordThatWasTakenBackIsNotRightInAnOutage(t *testing.T) {
	remembering(t, func(t *testing.T, o *office, login func(name, password string) error) {
		o.become(map[string]string{"ann": "old"}, nil)
		is(t, "before", login("ann", "old"), nil)
		o.become(map[string]string{"ann": "new"}, nil)
		time.Sleep(memory.Good)
		is(t, "the old one", login("ann", "old"), account.ErrRefused)
		o.become(nil, errNoAnswer)
		is(t, "the old one in an outage", login("ann", "old"), errNoAnswer)
	})
}

func TestWhoWasDeletedIsRefusedSoon(t *testing.T) {
	remembering(t, func(t *testing.T, o *office, login func(name, password string) error) {
		people := map[string]string{"ann": "secret", "bob": "secret"}
		o.become(people, nil)
		is(t, "ann before", login("ann", "secret"), nil)
		is(t, "bob before", login("bob", "secret"), nil)
		o.become(map[string]string{}, nil)
		is(t, "ann with a wrong password", login("ann", "wrong"), account.ErrUnknown)
		is(t, "ann after that", login("ann", "secret"), account.ErrUnknown)
		time.Sleep(memory.Good)
		is(t, "bob when the hour is over", login("bob", "secret"), account.ErrUnknown)
		o.become(nil, errNoAnswer)
		time.Sleep(memory.Unknown)
		is(t, "ann in an outage", login("ann", "secret"), errNoAnswer)
		is(t, "bob in an outage", login("bob", "secret"), errNoAnswer)
	})
}

// Whatever is guessed at once, the source is asked little, and the right one gets in.
func TestAStormOfWrongPasswordsIsFewQuestions(t *testing.T) {
	o := &office{}
	o.become(map[string]string{"ann": "secret"}, nil)
	c := account.NewCache(&account.Reader{Name: "office", Source: slowOffice{o}, Times: memory}, account.CacheOptions{Times: memory})
	defer func() { _ = c.Close() }()
	a := New(c, "{PLAIN}decoy", 2)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			password, want := "wrong", account.ErrRefused
			if i%10 == 0 {
				password, want = "secret", nil
			}
			_, err := a.Verifier(account.Query{Protocol: "imap"}, "").Password(t.Context(), "", "ann", password)
			is(t, password, err, want)
		})
	}
	all.Wait()
	if o.asked > 10 {
		t.Errorf("%d questions", o.asked)
	}
}

type slowOffice struct{ *office }

func (o slowOffice) Ask(ctx context.Context, q account.Query) (account.Record, error) {
	time.Sleep(50 * time.Millisecond)
	return o.office.Ask(ctx, q)
}

// Most directories have fast hashes, which never stand on a disk: what stands there is
// made of the password of a login.
func TestARestartInAnOutageLocksNobodyOut(t *testing.T) {
	o, dir := &office{}, t.TempDir()
	login := func(wait time.Duration) error {
		c := account.NewCache(&account.Reader{Name: "office", Source: o, Times: memory}, account.CacheOptions{
			Times: memory, Disk: &account.Disk{File: filepath.Join(dir, "cache"), Key: filepath.Join(dir, "key"), MakeKey: true},
		})
		defer c.Close()
		c.Restore()
		c.Keep()
		_, err := New(c, "{PLAIN}decoy", 2).Verifier(account.Query{Protocol: "imap"}, "").Password(t.Context(), "", "ann", "secret")
		time.Sleep(wait) // the hash is made after the login
		return err
	}
	err := errNoAnswer
	for wait := 100 * time.Millisecond; err != nil && wait < 10*time.Second; wait *= 2 {
		o.become(map[string]string{"ann": "secret"}, nil)
		is(t, "before", login(wait), nil)
		o.become(nil, errNoAnswer)
		err = login(0)
	}
	is(t, "after", err, nil)
}
