package admin

import (
	"strings"
	"testing"
)

func TestSelector(t *testing.T) {
	for _, c := range []struct {
		who  Selector
		want string // whom it chooses
	}{
		{Selector{}, "ann bob"},
		{Selector{User: "*"}, "ann bob"},
		{Selector{User: "ann@example.org"}, "ann"},
		{Selector{User: "ANN@example.ORG"}, "ann"},
		{Selector{User: "ann"}, ""},
		{Selector{User: "???@*"}, "ann bob"},
		{Selector{User: "????@*"}, ""},
		{Selector{User: "[ab]*"}, ""},
		{Selector{User: "*.org"}, "ann bob"},
		{Selector{User: "*.or"}, ""},
		{Selector{Session: "ANN0"}, "ann"},
		{Selector{Session: "ann0"}, "ann"},
		{Selector{Session: "ANN"}, ""},
		{Selector{Backend: "east"}, "ann"},
		{Selector{Backend: "East"}, "ann"},
		{Selector{Backend: "e*"}, ""},
		{Selector{Backend: "10.0.0.1"}, "ann"},
		{Selector{Backend: "10.0.0.1:143"}, "ann"},
		{Selector{Backend: "10.0.0.1:110"}, ""},
		{Selector{Backend: "IMAP2.example.org"}, "bob"},
		{Selector{Backend: "143"}, ""},
		{Selector{User: "a*", Backend: "west"}, ""},
		{Selector{User: "b*", Backend: "west", Session: "BOB0"}, "bob"},
	} {
		var got []string
		for _, x := range []Session{ann(1), bob(1)} {
			if c.who.Matches(x) {
				got = append(got, x.User[:3])
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v chooses %v, want %q", c.who, got, c.want)
		}
	}
}

func TestASelectorFindsHostsWhateverTheTargetLooksLike(t *testing.T) {
	for _, target := range []string{"east/[2001:db8::5]:143", "[2001:db8::5]:143"} {
		x := Session{Backend: "east", Target: target}
		for _, where := range []string{"2001:db8::5", "[2001:DB8::5]:143", "east"} {
			if !(Selector{Backend: where}).Matches(x) {
				t.Errorf("%q is not found on %q", target, where)
			}
		}
	}
	if (Selector{Backend: "east"}).Matches(Session{Target: "10.0.0.1:143"}) {
		t.Error("a session without a backend is found on east")
	}
}
