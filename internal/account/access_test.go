package account

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestWhoMayUseAnAccount(t *testing.T) {
	from := func(addr string) Query {
		return Query{Protocol: "imap", Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 5000)}
	}
	pop3 := Query{Protocol: "pop3", TLS: true, Remote: netip.MustParseAddrPort("192.0.2.7:5000")}
	clear := Query{Protocol: "pop3", Remote: pop3.Remote}
	for _, c := range []struct {
		name   string
		fields Fields
		q      Query
		want   string // "": nobody minds
	}{
		{"anybody", Fields{}, from("192.0.2.7"), ""},
		{"from a network", Fields{"allow_nets": "10.0.0.0/8, 192.0.2.0/24"}, from("192.0.2.7"), ""},
		{"from an IPv4 address seen as IPv6", Fields{"allow_nets": "192.0.2.7"}, from("::ffff:192.0.2.7"), ""},
		{"from IPv6", Fields{"allow_nets": "2001:db8::/32"}, from("2001:db8::1"), ""},
		{"from elsewhere", Fields{"allow_nets": "10.0.0.0/8"}, from("192.0.2.7"), "stranger"},
		{"from this machine", Fields{"allow_nets": "local"}, from("127.0.0.1"), ""},
		{"not from this machine", Fields{"allow_nets": "local"}, from("192.0.2.7"), "stranger"},
		{"elsewhere, and denied: a stranger is told nothing", Fields{"allow_nets": "local", "nologin": "Y", "reason": "moved"}, from("192.0.2.7"), "stranger"},
		{"no IMAP", Fields{"disableimap": "1"}, from("192.0.2.7"), "authz_fail"},
		{"no IMAP, by POP3", Fields{"disableimap": "1"}, pop3, ""},
		{"an option", Fields{"options": "x=y,disablepop3=1"}, pop3, "authz_fail"},
		{"an option without value", Fields{"options": "disablepop3"}, pop3, "authz_fail"},
		{"POP3 under TLS only, and it is", Fields{"disableinsecurepop3": "1"}, pop3, ""},
		{"POP3 under TLS only, and it is not", Fields{"disableinsecurepop3": "1"}, clear, "authz_fail"},
		{"disabled", Fields{"nologin": "Y", "code": "user_disabled"}, pop3, "user_disabled"},
		{"a code", Fields{"code": "pass_expired"}, pop3, "pass_expired"},
		{"words for another day", Fields{"nologin": "N", "reason": "moved"}, pop3, ""},
	} {
		a, err := c.fields.Account("ann")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		d, err := a.Refuses(c.q)
		got := ""
		switch {
		case errors.Is(err, ErrRefused):
			got = "stranger"
		case err != nil:
			got = err.Error()
		case d != nil:
			got = d.Code
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestALoginWaitsAsLongAsItsSourceWants(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for value, want := range map[string]time.Duration{
		"1700000005": 5 * time.Second, "1699999999": 0, "": 0,
	} {
		a, err := Fields{"delay_until": value}.Account("ann")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Access.Wait(now); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", value, got, err, want)
		}
	}
	a, err := Fields{"delay_until": "1700000005+3"}.Account("ann")
	if got, _ := a.Access.Wait(now); err != nil || got < 5*time.Second || got >= 8*time.Second {
		t.Errorf("with chance: %v, %v", got, err)
	}
	a, err = Fields{"delay_until": "1700000500"}.Account("ann")
	if _, tooLong := a.Access.Wait(now); err != nil || tooLong == nil {
		t.Errorf("eight minutes: %v, %v", err, tooLong)
	}
}

func TestOptionsAreReadInAnyOrder(t *testing.T) {
	for list, want := range map[string]string{
		"mailhost=a": "a",
		"sharedgroup=x,mailhost=a,disablewebmail=1": "a",
		"disablewebmail=1, mailhost = a ":           "a",
		"mailhost=a,mailhost=b":                     "b",
		"sharedgroup=x,":                            "",
		",,":                                        "",
	} {
		a, err := Fields{"options": list}.Account("ann")
		got := ""
		if err == nil && len(a.Place.Hosts) > 0 {
			got = a.Place.Hosts[0]
		}
		if got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", list, got, err, want)
		}
	}
	a, err := Fields{"host": "own", "options": "mailhost=a"}.Account("ann")
	if err != nil || a.Place.Hosts[0] != "own" {
		t.Errorf("%+v, %v: a field of its own wins", a, err)
	}
}
