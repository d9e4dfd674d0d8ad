package auth

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"usher/internal/account"
)

// Names decides whom a client means by the name that it writes. The zero value takes
// names as they come. What happens to a name, happens in the order of the fields; then a
// name without a domain gets that of the listener.
type Names struct {
	Translate map[rune]rune // one character to another: '%' to '@'
	Chars     string        // that can be in a name; "": all
	Letters   Letters
	Strip     []string // domains that are taken off, in any case; "*": all
}

// Letters says whether letters of names are changed.
type Letters int

// The ways to treat letters.
const (
	KeepLetters   Letters = iota
	LowerLetters          // makes small letters of capitals
	PrecisLetters         // UsernameCaseMapped of RFC 8265 §3.3: also, one form for all that looks the same
)

// Canonical is the name that is meant, at a listener that adds domain to names without
// one. The error wraps account.ErrRefused, and comes with the name as it was written.
func (n Names) Canonical(written, domain string) (string, error) {
	if !utf8.ValidString(written) {
		return written, account.ErrRefused
	}
	name := strings.Map(func(r rune) rune {
		if to, ok := n.Translate[r]; ok {
			return to
		}
		return r
	}, written)
	if n.Chars != "" {
		if i := strings.IndexFunc(name, func(r rune) bool { return !strings.ContainsRune(n.Chars, r) }); i >= 0 {
			return written, fmt.Errorf("%w: %q is not among the characters that username_chars allows", account.ErrRefused, []rune(name[i:])[0])
		}
	}
	name, err := n.fold(name)
	if err != nil {
		return written, err
	}
	return complete(n.strip(name), domain), nil
}

// fold treats the letters. What stands behind the @ is a domain's name, which RFC 8265
// has no say in.
func (n Names) fold(name string) (string, error) {
	switch n.Letters {
	case LowerLetters:
		return strings.ToLower(name), nil
	case PrecisLetters:
		local, domain, at := strings.Cut(name, "@")
		local, err := precis.UsernameCaseMapped.String(local)
		if err != nil {
			return name, fmt.Errorf("%w: RFC 8265 has no such names: %w", account.ErrRefused, err)
		}
		if at {
			local += "@" + strings.ToLower(norm.NFC.String(domain))
		}
		return local, nil
	}
	return name, nil
}

// strip takes the domain off.
func (n Names) strip(name string) string {
	local, domain, at := strings.Cut(name, "@")
	for _, d := range n.Strip {
		if at && (d == "*" || strings.EqualFold(d, domain)) {
			return local
		}
	}
	return name
}

func complete(name, domain string) string {
	if domain != "" && name != "" && !strings.Contains(name, "@") {
		return name + "@" + domain
	}
	return name
}
