package auth

import (
	"errors"
	"strings"
	"testing"

	"usher/internal/account"
)

func TestNamesMeanTheSamePerson(t *testing.T) {
	for _, c := range []struct {
		how           string
		names         Names
		domain        string
		written, want string // "": refused
	}{
		{"as it comes", Names{}, "", "Ann@Example.ORG", "Ann@Example.ORG"},
		{"the listener's domain", Names{}, "example.org", "Ann", "Ann@example.org"},
		{"nobody at a domain", Names{}, "example.org", "", ""},
		{"lower", Names{Letters: LowerLetters}, "example.org", "ÄNN", "änn@example.org"},
		{"lower, domain too", Names{Letters: LowerLetters}, "", "Ann@Example.ORG", "ann@example.org"},
		{"translated", Names{Translate: map[rune]rune{'%': '@', '#': '@'}}, "example.org", "ann%example.com", "ann@example.com"},
		{"stripped", Names{Strip: []string{"old.example"}}, "", "ann@OLD.example", "ann"},
		{"another's domain", Names{Strip: []string{"old.example"}}, "", "ann@new.example", "ann@new.example"},
		{"all stripped", Names{Strip: []string{"*"}}, "", "ann@new.example", "ann"},
		{"moved to another domain", Names{Strip: []string{"old.example"}}, "new.example", "ann@old.example", "ann@new.example"},
		{"nothing left", Names{Strip: []string{"*"}}, "", "@new.example", ""},
		{"allowed characters", Names{Chars: "abcdefghijklmnopqrstuvwxyz.@"}, "", "ann.lee@example", "ann.lee@example"},
		{"another character", Names{Chars: "abcdefghijklmnopqrstuvwxyz.@"}, "", "ann+spam@example", ""},
		{"characters before letters are changed", Names{Chars: "abcdefghijklmnopqrstuvwxyz", Letters: LowerLetters}, "", "Ann", ""},
		{"characters after they are translated", Names{Chars: "abcdefghijklmnopqrstuvwxyz@", Translate: map[rune]rune{'%': '@'}}, "", "ann%x", "ann@x"},
		{"one form", Names{Letters: PrecisLetters}, "", "A\u0308NN@EXAMPLE.org", "änn@example.org"},
		{"full width", Names{Letters: PrecisLetters}, "", "\uff21nn", "ann"},
		{"Greek, of which the end differs", Names{Letters: PrecisLetters}, "", "\u03a3", "\u03c3"},
		{"from right to left, before a domain", Names{Letters: PrecisLetters}, "", "שרה@example.org", "שרה@example.org"},
		{"a blank", Names{Letters: PrecisLetters}, "", "ann lee", ""},
		{"a Roman number", Names{Letters: PrecisLetters}, "", "henry\u2163", ""}, // RFC 8265 §3.5
		{"no letters at all", Names{Letters: PrecisLetters}, "", "", ""},
		{"no UTF-8", Names{Translate: map[rune]rune{'x': 'y'}}, "", "\xff", ""},
	} {
		v := verifier{auth: &Auth{Names: c.names}, domain: c.domain}
		got, err := v.name(c.written)
		switch {
		case c.want == "" && !errors.Is(err, account.ErrRefused):
			t.Errorf("%s: %q means %q, %v; want a refusal", c.how, c.written, got, err)
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s: %q means %q, %v; want %q", c.how, c.written, got, err, c.want)
		}
	}
}

func TestARefusedCharacterIsNamedInTheLog(t *testing.T) {
	_, err := Names{Chars: "abc"}.Canonical("cab!", "")
	if err == nil || !strings.Contains(err.Error(), `'!'`) || !strings.Contains(err.Error(), "username_chars") {
		t.Error(err)
	}
}

// By whatever way a client says its name, it is the same.
func TestNamesAreReadTheSameInAllMechanisms(t *testing.T) {
	d := accounts("ann@example.org")
	a := New(d, "{PLAIN}decoy", 2)
	a.Names = Names{Letters: LowerLetters, Translate: map[rune]rune{'%': '@'}}
	a.Tokens = tokens{"x": {"ANN"}}.names
	v := a.Verifier(account.Query{}, "example.org")
	if _, err := v.Password(t.Context(), "ANN%example.org", "Ann", "secret"); err != nil {
		t.Errorf("password: %v", err)
	}
	if _, err := v.Answer(t.Context(), "ANN%Example.org", cramMD5("ANN%Example.org", "secret")); err != nil {
		t.Errorf("answer: %v", err)
	}
	if _, err := scram(t, v, "ANN%Example.org", "Ann", "SHA-1", "secret"); err != nil {
		t.Errorf("SCRAM: %v", err)
	}
	if _, err := v.Certificate(t.Context(), "Ann", []string{"bob", "ANN"}); err != nil {
		t.Errorf("certificate: %v", err)
	}
	if _, err := v.Token(t.Context(), "ann%example.org", "x"); err != nil {
		t.Errorf("token: %v", err)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"ann", "Ann@Example.ORG", "ann%x", "A\u0308", "\uff21", "שרה", "\xff", "a\x00b", "@", "@@", "a@b@c"} {
		f.Add(s, "example.org")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, written, domain string) {
		for _, n := range []Names{{}, {Letters: LowerLetters, Strip: []string{"example.org"}, Translate: map[rune]rune{'%': '@'}}, {Letters: PrecisLetters}} {
			name, err := n.Canonical(written, domain)
			if err != nil && (!errors.Is(err, account.ErrRefused) || name != written) {
				t.Errorf("%q: %q, %v", written, name, err)
			}
		}
	})
}
