package server

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher/internal/admin"
	"usher/internal/penalty"
)

// A short delay stays short, and "0s" switches all of it off.
func TestPenaltiesGrowFromTheConfiguredDelay(t *testing.T) {
	for _, c := range []struct {
		text string
		room int
		want penalty.Terms
	}{
		{"", 0, penalty.Terms{Step: 2 * time.Second, Most: 50 * time.Second, Waiting: 1000}},
		{"failure_delay = '100ms'", 100_000, penalty.Terms{Step: 100 * time.Millisecond, Most: 2500 * time.Millisecond, Waiting: 1000}},
		{"failure_delay_max = '10s'", 400, penalty.Terms{Step: 2 * time.Second, Most: 10 * time.Second, Waiting: 100}},
		{"failure_delay = '0s'", 1, penalty.Terms{Waiting: 1}},
		{"failure_delay_max = '0s'", 0, penalty.Terms{Step: 2 * time.Second, Waiting: 1000}},
	} {
		s := build(t, t.TempDir(), imapOnly+"[limit]\n"+c.text)
		if got := s.house.Load().terms(c.room); got != c.want {
			t.Errorf("%s, with room for %d: %+v, want %+v", c.text, c.room, got, c.want)
		}
	}
}

func TestAnAdministratorForgives(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly)
	s.setBounds()
	fail := func() {
		try, err := s.penalties.Begin(t.Context(), netip.MustParsePrefix("2001:db8::/64"), "ann", func() {})
		if err != nil {
			t.Fatal(err)
		}
		try.Wrong(fmt.Sprint("password", time.Now().UnixNano()))
	}
	for whom, want := range map[admin.Pardon]int{
		{Network: "2001:db8::77"}: 1, {Network: "2001:db8::/32"}: 1, {Network: "192.0.2.0/24"}: 0, {User: "Ann"}: 1, {User: "bob"}: 0, {All: true}: 2,
	} {
		s.penalties = penalty.New(s.house.Load().terms(0))
		fail()
		if list := s.Penalties(); len(list) != 2 || list[0].Network != "2001:db8::/64" || list[1].User != "ann" || list[0].PID == 0 {
			t.Fatalf("held is %+v", list)
		}
		if n, err := s.Forgive(whom); n != want || err != nil {
			t.Errorf("%+v: %d are forgiven, want %d; %v", whom, n, want, err)
		}
	}
	if _, err := s.Forgive(admin.Pardon{Network: "everybody"}); err == nil || !strings.Contains(err.Error(), "neither an address nor a network") {
		t.Errorf("it takes what is no network: %v", err)
	}
}
