package sql

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"usher/internal/account"
)

// text copies a text in quotes; prefix stands before the first one and is not in l.in
// any more. With variables in it, the text becomes a value.
func (l *lexer) text(prefix string, backslashes bool) error {
	quote := l.in[0]
	v := value{lexer: l}
	i := 1
	for ; i < len(l.in); i++ {
		switch c := l.in[i]; {
		case c == mark[0]:
			v.variable()
		case c == '\\' && backslashes:
			n, err := v.escape(l.in[i+1:])
			if err != nil {
				return err
			}
			i += n
		case c != quote:
			v.bytes = append(v.bytes, c)
		case i+1 < len(l.in) && l.in[i+1] == quote: // doubled: the quote itself
			v.bytes = append(v.bytes, c)
			i++
		default:
			return l.textEnds(prefix, i+1, v)
		}
	}
	return fmt.Errorf("%.40q: the text has no end", strings.ReplaceAll(l.in, mark, "?"))
}

// textEnds writes a text of n bytes as it is, or as the place of a value.
func (l *lexer) textEnds(prefix string, n int, v value) error {
	if v.count == 0 {
		l.write(prefix)
		l.copy(n)
		return nil
	}
	switch strings.ToLower(prefix) {
	case "", "n", "e": // they do not change what kind of value it is
	default:
		return fmt.Errorf("{%s} stands in %s'…'; write it without %s", l.variables[0].Variable, prefix, prefix)
	}
	t, err := v.template()
	if err != nil {
		return err
	}
	l.variables = l.variables[v.count:]
	l.in = l.in[n:]
	l.place(t)
	return nil
}

// dollarTag is the $tag$ with which l.in begins, or "".
func (l *lexer) dollarTag() string {
	end := strings.IndexByte(l.in[1:], '$') + 1
	if end <= 0 || end > 1 && '0' <= l.in[1] && l.in[1] <= '9' {
		return ""
	}
	for _, c := range []byte(l.in[1:end]) {
		if !isWord(c) {
			return ""
		}
	}
	return l.in[:end+1]
}

// dollarText copies PostgreSQL's $tag$ text $tag$, in which nothing is escaped.
func (l *lexer) dollarText(tag string) error {
	body, _, ends := strings.Cut(l.in[len(tag):], tag)
	if !ends {
		return fmt.Errorf("%.40q: the text has no end", strings.ReplaceAll(l.in, mark, "?"))
	}
	v := value{lexer: l}
	for _, c := range []byte(body) {
		if c == mark[0] {
			v.variable()
		} else {
			v.bytes = append(v.bytes, c)
		}
	}
	return l.textEnds("", len(tag)+len(body)+len(tag), v)
}

// A value is what a text in quotes means.
type value struct {
	lexer *lexer
	bytes []byte // since the last variable
	parts account.Template
	count int // of its variables
}

func (v *value) variable() {
	v.flush()
	v.parts = append(v.parts, v.lexer.variables[v.count])
	v.count++
}

func (v *value) flush() {
	if len(v.bytes) > 0 {
		v.parts = append(v.parts, account.Part{Text: string(v.bytes)})
	}
	v.bytes = nil
}

func (v *value) template() (account.Template, error) {
	v.flush()
	for _, p := range v.parts {
		if !utf8.ValidString(p.Text) {
			return nil, errors.New("a text with a variable in it is not valid UTF-8")
		}
	}
	return v.parts, nil
}

// escape reads what stands behind a backslash, and says how long it is.
func (v *value) escape(s string) (n int, err error) {
	if s == "" || s[0] == mark[0] {
		return 0, errors.New("a backslash stands before a variable, or at the end; double it")
	}
	if v.lexer.escapeTexts {
		return v.postgresEscape(s)
	}
	return v.mysqlEscape(s[0]), nil
}

// MySQL 8.0 Reference Manual, 11.1.1: String Literals.
func (v *value) mysqlEscape(c byte) int {
	const from, to = "0bnrtZ", "\x00\b\n\r\t\x1a"
	switch i := strings.IndexByte(from, c); {
	case i >= 0:
		v.bytes = append(v.bytes, to[i])
	case c == '%', c == '_': // for LIKE, which reads the backslash itself
		v.bytes = append(v.bytes, '\\', c)
	default:
		v.bytes = append(v.bytes, c)
	}
	return 1
}

// PostgreSQL 15 Documentation, 4.1.2.2: String Constants with C-Style Escapes.
func (v *value) postgresEscape(s string) (n int, err error) {
	const from, to = "bfnrt", "\b\f\n\r\t"
	c := s[0]
	switch i := strings.IndexByte(from, c); {
	case i >= 0:
		v.bytes = append(v.bytes, to[i])
		return 1, nil
	case '0' <= c && c <= '7':
		return v.number(s, 0, 3, 8)
	case c == 'x':
		return v.number(s, 1, 2, 16)
	case c == 'u':
		return v.character(s, 4)
	case c == 'U':
		return v.character(s, 8)
	}
	v.bytes = append(v.bytes, c)
	return 1, nil
}

// number reads a byte of up to most digits, which begin at from.
func (v *value) number(s string, from, most, base int) (int, error) {
	end := from
	for end < len(s) && end-from < most && digit(s[end]) < base {
		end++
	}
	if end == from { // \x without a digit is an x
		v.bytes = append(v.bytes, s[0])
		return 1, nil
	}
	b, _ := strconv.ParseUint(s[from:end], base, 16) // they are digits
	v.bytes = append(v.bytes, byte(b))
	return end, nil
}

// character reads a code point of exactly so many hexadecimal digits.
func (v *value) character(s string, digits int) (int, error) {
	if len(s) <= digits {
		return 0, fmt.Errorf(`\%c needs %d hexadecimal digits`, s[0], digits)
	}
	r, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil || !utf8.ValidRune(rune(r)) {
		return 0, fmt.Errorf(`\%.10q is no character`, s[:1+digits])
	}
	v.bytes = utf8.AppendRune(v.bytes, rune(r))
	return 1 + digits, nil
}

// digit is the worth of a hexadecimal digit; 16 or more: it is none.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 16
}
