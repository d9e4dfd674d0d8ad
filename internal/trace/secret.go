package trace

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// What holds a secret is not recorded at all: see Leg and wire's WriteAs. This is for
// peers that repeat one where nobody expects it, such as a server in its complaint.

// shortest is the least length of what can be starred: shorter secrets would star half
// the text, and show themselves by it.
const shortest = 4

const notShown = "(not shown: it may hold a password)"

// secrets are what must not be recorded, in all forms in which it may be said.
type secrets struct {
	forms []string // the longest first
	short []string // where these are, nothing is left
}

func (s *secrets) add(secret string) {
	switch {
	case secret == "" || slices.Contains(s.forms, secret) || slices.Contains(s.short, secret):
	case len(secret) < shortest:
		s.short = append(s.short, secret)
	default:
		s.forms = append(s.forms, formsOf(secret)...)
		slices.SortFunc(s.forms, func(a, b string) int { return len(b) - len(a) })
	}
}

func (s *secrets) star(text string) string {
	for _, secret := range s.short {
		if strings.Contains(text, secret) {
			return notShown
		}
	}
	for _, f := range s.forms {
		text = strings.ReplaceAll(text, f, "***")
	}
	return text
}

// formsOf are the forms of a secret: as it is, escaped, in hex, and as it stands in
// the middle of something in base64.
func formsOf(secret string) (all []string) {
	escaped := strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(secret) // RFC 9051's quoted
	for _, form := range []string{secret, escaped} {
		quoted := strconv.Quote(form)
		all = append(all, form, quoted[1:len(quoted)-1])
	}
	inHex := hex.EncodeToString([]byte(secret))
	all = append(all, inHex, strings.ToUpper(inHex))
	for before := range 3 {
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := alphabet.EncodeToString(append(make([]byte, before), secret...))
			whole := text[(before*8+5)/6 : (before+len(secret))*8/6] // the characters that are the secret's alone
			if len(whole) >= shortest {
				all = append(all, whole)
			}
		}
	}
	return all
}

// cut bounds a line.
func cut(line string) string {
	if len(line) <= mostText {
		return line
	}
	return strings.ToValidUTF8(line[:mostText], "") + " …"
}
