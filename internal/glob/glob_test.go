package glob_test

import (
	"path"
	"strings"
	"testing"

	"usher/internal/glob"
)

func TestAPatternHoldsForAllOfAName(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		fits          bool
	}{
		{"ann@example.org", "Ann@Example.ORG", true},
		{"a?n@*", "ann@example.org", true},
		{"a?n@*", "an@example.org", false},
		{"?", "ü", true}, // a character, not a byte
		{"*@example.org", "ann@example.org.evil", false},
		{"", "ann", false},
		{"*", "", true},
	} {
		if got := glob.Match(c.pattern, c.name); got != c.fits {
			t.Errorf("Match(%q, %q) is %v", c.pattern, c.name, got)
		}
	}
}

// If it took as long as there are ways to divide the name, this would never end.
func TestAPatternNeverTakesLong(t *testing.T) {
	if glob.Match(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 4000)) {
		t.Error("it fits")
	}
}

// path.Match is another glob; they differ only in what is special to it, and in
// that its * ends at a slash.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"*", ""},
		{"?", ""},
		{"a*", "ann"},
		{"*n*n", "annn"},
		{"*ab*ab", "aabab"},
		{"?*?", "ü"},
		{"*é", "\xffé"},
		{"**", "x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.ContainsAny(pattern, `[]\/`) || strings.Contains(name, "/") {
			t.Skip()
		}
		want, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
		if err != nil {
			t.Skip()
		}
		if got := glob.Match(pattern, name); got != want {
			t.Errorf("Match(%q, %q) is %v, path.Match says %v", pattern, name, got, want)
		}
	})
}
