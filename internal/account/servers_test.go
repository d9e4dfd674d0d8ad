package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A machine is a server whose state a test changes.
type machine struct {
	frozen, refuses atomic.Bool
	asked, probed   atomic.Int32
}

var errNoConnection = errors.New("connection refused")

func (m *machine) answer(ctx context.Context) error {
	switch {
	case m.refuses.Load():
		return errNoConnection
	case m.frozen.Load():
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func machines(t *testing.T, n int) (*Servers[*machine], []*machine) {
	t.Helper()
	var names []string
	var list []*machine
	for i := range n {
		names, list = append(names, fmt.Sprintf("db%d", i+1)), append(list, new(machine))
	}
	probe := func(ctx context.Context, m *machine) error {
		m.probed.Add(1)
		return m.answer(ctx)
	}
	s := NewServers(slog.New(slog.DiscardHandler), 4*time.Second, probe, names, list)
	t.Cleanup(s.Close)
	return s, list
}

// who asks, and returns who has answered.
func who(ctx context.Context, s *Servers[*machine]) (string, error) {
	var by string
	err := s.Do(ctx, func(ctx context.Context, name string, m *machine) error {
		m.asked.Add(1)
		by = name
		return m.answer(ctx)
	})
	return by, err
}

func TestAFrozenServerIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, list := machines(t, 2)
		list[0].frozen.Store(true)
		for i, want := range []time.Duration{2 * time.Second, 0, 0} {
			began := time.Now()
			by, err := who(t.Context(), s)
			if took := time.Since(began); by != "db2" || err != nil || took != want {
				t.Errorf("question %d: %s, %v after %v, want %v", i, by, err, took, want)
			}
		}
		list[0].frozen.Store(false)
		time.Sleep(5 * time.Second)
		if by, err := who(t.Context(), s); by != "db1" || err != nil {
			t.Errorf("once the first is well again, %s answers: %v", by, err)
		}
		s.Close()
	})
}

func TestIfAllAreDownNobodyWaitsAndNobodyStorms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, list := machines(t, 2)
		for _, m := range list {
			m.refuses.Store(true)
		}
		for range 1000 {
			began := time.Now()
			if _, err := who(t.Context(), s); !errors.Is(err, errNoConnection) || !strings.Contains(err.Error(), "db1: ") || !strings.Contains(err.Error(), "db2: ") {
				t.Fatalf("%v", err)
			}
			if time.Since(began) > 0 {
				t.Fatal("a login had to wait")
			}
		}
		if n := list[0].asked.Load() + list[1].asked.Load(); n != 2 {
			t.Errorf("servers that are down were asked %d times", n)
		}
		time.Sleep(time.Minute)
		if n := list[0].probed.Load(); n < 20 || n > 70 {
			t.Errorf("a server that is down was probed %d times in a minute", n)
		}
		for _, h := range s.Health() {
			if h.Err == nil || time.Since(h.Since) < time.Minute {
				t.Errorf("%+v", h)
			}
		}
		list[1].refuses.Store(false)
		time.Sleep(2 * time.Second)
		if by, err := who(t.Context(), s); by != "db2" || err != nil {
			t.Errorf("%s, %v", by, err)
		}
		s.Close()
	})
}

func TestAServerThatAnswersIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, list := machines(t, 2)
		for _, answer := range []error{ErrUnknown, ErrRefused, Final(errors.New("two rows")), fmt.Errorf("x: %w", ErrUnknown)} {
			err := s.Do(t.Context(), func(context.Context, string, *machine) error { return answer })
			if !errors.Is(err, answer) && err != answer {
				t.Errorf("%v became %v", answer, err)
			}
		}
		left, leave := context.WithCancel(t.Context())
		list[0].frozen.Store(true)
		go func() { time.Sleep(time.Second); leave() }()
		if _, err := who(left, s); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has left gets %v", err)
		}
		for _, h := range s.Health() {
			if h.Err != nil {
				t.Errorf("%+v", h)
			}
		}
		if list[1].asked.Load() > 0 {
			t.Error("the next server was asked for nobody")
		}
		s.Close()
	})
}

// The last server may take all the time that is left: there is nobody else to ask.
func TestASlowServerIsWaitedForIfItIsTheOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := machines(t, 1)
		err := s.Do(t.Context(), func(ctx context.Context, _ string, _ *machine) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			t.Error(err)
		}
		s.Close()
	})
}
