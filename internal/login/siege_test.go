package login_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/penalty"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/wire"
)

// A siege is a desk that many come to at once, in synthetic time. The accounts are
// user0, user1 …, their password is "secret".
type siege struct {
	desk   *login.Desk
	all    sync.WaitGroup // who take part
	looked atomic.Int64   // wrong passwords that were looked at
	next   atomic.Int64   // which the attackers try
}

// away is a relay whose sessions end at once.
type away struct{ *engine }

func (away) Start(p relay.Pair, done func(relay.Stats)) { done(relay.Stats{ID: p.ID}) }

func newSiege(p *penalty.Penalties) *siege {
	s := &siege{}
	s.desk = &login.Desk{
		Mechanisms: []sasl.Mechanism{sasl.Plain},
		Verifier: func(*login.Client) sasl.Verifier {
			return verify(func(name, password string) (sasl.Identity, error) {
				if password != "secret" {
					s.looked.Add(1)
					return sasl.Identity{}, account.ErrRefused
				}
				return sasl.Identity{Account: &account.Account{Name: name}, Password: password, Proven: true}, nil
			})
		},
		Limits: &limit.Limits{}, Penalties: p, Routes: newStage().desk.Routes, Sessions: &session.Registry{}, Relay: away{},
		Backends: open(func(ctx context.Context, t route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
			c := wire.New(record(""), wire.Bounds{})
			return c, enter(ctx, c, t.(route.Dial).Stops[0])
		}),
		Log: slog.New(slog.DiscardHandler), FailureDelay: 2 * time.Second,
	}
	return s
}

// login comes from an address.
func (s *siege) login(ctx context.Context, from netip.Addr, name, password string) error {
	c := &login.Client{
		ID: session.NewID(), Conn: wire.New(record(""), wire.Bounds{}), Remote: netip.AddrPortFrom(from, 1), Stay: ctx,
		Terms:    login.Terms{Cleartext: login.CleartextAlways},
		Protocol: proto{func(login.Ticket) (login.Welcome, error) { return login.Welcome{}, nil }},
	}
	a, err := s.desk.Admit(ctx, c, "PLAIN", sasl.Given(name, password))
	if err != nil {
		_ = c.Conn.Close()
		return err
	}
	return a.Join()
}

// attack has 200 attackers of 50 networks try five passwords of 10,000 users for a
// minute, some of whom there are. Each goes on when it has been answered.
func (s *siege) attack(ctx context.Context) {
	for i := range 200 {
		s.all.Go(func() {
			for ctx.Err() == nil {
				n := s.next.Add(1)
				name, password := fmt.Sprintf("user%d", n%10_000), fmt.Sprintf("password%d", n/10_000%5)
				_ = s.login(ctx, attackers(i%50), name, password)
			}
		})
	}
}

func attackers(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}) }

// usual are the terms of the default configuration.
var usual = penalty.Terms{Step: 2 * time.Second, Most: 50 * time.Second, Waiting: 1000}

// tries plays a minute of it and counts.
func tries(t *testing.T, p *penalty.Penalties, meanwhile func(*testing.T, context.Context, *siege)) (n int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSiege(p)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		s.attack(ctx)
		meanwhile(t, ctx, s)
		<-ctx.Done()
		n = s.looked.Load()
		s.all.Wait()
	})
	return n
}

func TestASiegeHasFiftyTimesFewerTries(t *testing.T) {
	nothing := func(*testing.T, context.Context, *siege) {}
	without := tries(t, nil, nothing)
	with := tries(t, penalty.New(usual), usersLogIn)
	t.Logf("%d tries in a minute without penalties, %d with", without, with)
	if with*50 > without {
		t.Errorf("attackers have %d tries in a minute, and without penalties %d: not 50 times fewer", with, without)
	}
}

// usersLogIn has users log in during a siege, at home and for the first time, each
// twenty times a minute; nobody waits.
func usersLogIn(t *testing.T, ctx context.Context, s *siege) {
	for i := range 300 {
		s.all.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				home := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
				if err := s.login(ctx, home, fmt.Sprintf("user%d", 20_000+i), "secret"); ctx.Err() == nil && (err != nil || time.Since(began) > 0) {
					t.Errorf("user %d waits for %v: %v", i, time.Since(began), err)
				}
				time.Sleep(3 * time.Second)
			}
		})
	}
}

// The attackers stand before one name, too, and one of them shares an office with a
// hundred users who come for the first time.
func TestWhoSharesAnAddressWithAnAttackerGetsIn(t *testing.T) {
	var in atomic.Int64
	var longest atomic.Int64
	tries(t, penalty.New(usual), func(t *testing.T, ctx context.Context, s *siege) {
		office := netip.MustParseAddr("198.51.100.1")
		s.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_ = s.login(ctx, office, fmt.Sprintf("guessed%d", i), "wrong")
			}
		})
		for i := range 100 {
			s.all.Go(func() {
				time.Sleep(5*time.Second + time.Duration(i)*100*time.Millisecond)
				for ctx.Err() == nil {
					began := time.Now()
					switch err := s.login(ctx, office, fmt.Sprintf("user%d", 30_000+i), "secret"); {
					case err == nil && ctx.Err() == nil:
						in.Add(1)
						longest.Store(max(longest.Load(), int64(time.Since(began))))
					case err != nil && ctx.Err() == nil:
						t.Errorf("user %d is refused after %v: %v", i, time.Since(began), err)
					}
					time.Sleep(10 * time.Second)
				}
			})
		}
	})
	t.Logf("%d logins, of which the longest took %v", in.Load(), time.Duration(longest.Load()))
	if in.Load() < 200 || longest.Load() > int64(20*time.Second) {
		t.Errorf("100 users got in %d times, after up to %v", in.Load(), time.Duration(longest.Load()))
	}
}
