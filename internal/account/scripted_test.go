package account_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
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

// login is what package auth does with a right password.
func login(t testing.TB, c *account.Cache, name, password string) (*account.Account, error) {
	t.Helper()
	a, err := c.Lookup(t.Context(), account.Query{Name: name, Protocol: "imap", Password: password})
	if err == nil && a.Proof != nil {
		a.Memory.Keep(a.Proof, password)
	}
	return a, err
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
