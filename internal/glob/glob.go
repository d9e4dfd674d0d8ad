// Package glob matches names with the patterns of the configuration and of commands.
package glob

import (
	"strings"
	"unicode/utf8"
)

// Match tells whether all of a name fits a pattern, in any case of letters: * stands for
// any characters, ? for one. On a mismatch only the last * takes one character more: no
// pattern takes longer than the product of both lengths.
func Match(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	star, tried := -1, 0 // where the last * is, and where in the name what follows it was tried
	p, n := 0, 0
	for n < len(name) {
		_, size := utf8.DecodeRuneInString(name[n:])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, tried = p, n
			p++
		case p < len(pattern) && pattern[p] == '?':
			p, n = p+1, n+size
		case strings.HasPrefix(pattern[p:], name[n:n+size]):
			p, n = p+size, n+size
		case star >= 0:
			_, size := utf8.DecodeRuneInString(name[tried:])
			tried += size
			p, n = star+1, tried
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
