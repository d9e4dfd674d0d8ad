package sql

import (
	"errors"
	"fmt"
	"strings"

	"usher/internal/account"
)

// mark stands in the text of a query where a variable stands.
const mark = "\x00"

// A lexer copies a query token by token. It knows no grammar: only where texts, names
// and comments begin and end.
type lexer struct {
	*dialect
	in        string         // what is left; each mark is the next of variables
	variables []account.Part // that are left
	out       strings.Builder
	last      byte // that was written; 0: nothing
	values    []account.Template
}

// token copies the next token.
func (l *lexer) token() error {
	c := l.in[0]
	switch {
	case c == mark[0]:
		return l.variable()
	case c == '\'':
		return l.text("", l.backslashes)
	case c == '"' && l.doubleQuotesText:
		return l.text("", l.backslashes)
	case c == '"', c == '`' && l.backticks:
		return l.name(c)
	case c == '[' && l.brackets:
		return l.name(']')
	case c == '#' && l.hash, l.dashes():
		return l.comment(l.lineEnd())
	case strings.HasPrefix(l.in, "/*"):
		return l.blockComment()
	case isWord(c) && c != '$':
		return l.word()
	case c == '$' && l.dollars && l.dollarTag() != "":
		return l.dollarText(l.dollarTag())
	case strings.IndexByte(l.places, c) >= 0 && !l.operator():
		return fmt.Errorf("%.20q: usher numbers the places of values itself; write {user} where the name belongs", l.in)
	}
	l.copy(1)
	return nil
}

// copy writes the next n bytes as they are.
func (l *lexer) copy(n int) {
	l.write(l.in[:n])
	l.in = l.in[n:]
}

func (l *lexer) write(s string) {
	if s != "" {
		l.out.WriteString(s)
		l.last = s[len(s)-1]
	}
}

// isWord tells whether c can be in a name or number.
func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// operator tells whether a character that can begin a place is something else here.
func (l *lexer) operator() bool {
	return l.in[0] != '?' && (len(l.in) < 2 || !isWord(l.in[1]) && l.in[1] != mark[0])
}

// variable writes the place of a variable without quotes.
func (l *lexer) variable() error {
	p := l.take()
	rest := l.in[1:]
	if glues(l.last) || rest != "" && (glues(rest[0]) || rest[0] == mark[0]) {
		return fmt.Errorf("{%s} is only a part of a word; put quotes around the whole word: '…{%s}…'", p.Variable, p.Variable)
	}
	l.in = rest
	l.place(account.Template{p})
	return nil
}

// glues tells whether c, next to a variable, makes one word of both.
func glues(c byte) bool { return isWord(c) || c == '@' || c == '.' }

// take takes the next variable.
func (l *lexer) take() account.Part {
	p := l.variables[0]
	l.variables = l.variables[1:]
	return p
}

// place writes the place of a value.
func (l *lexer) place(value account.Template) {
	if isWord(l.last) || l.last != 0 && strings.IndexByte(l.places, l.last) >= 0 {
		l.write(" ")
	}
	l.values = append(l.values, value)
	l.write(l.dialect.place(len(l.values)))
	l.last = '0' // it is like a number
	if l.in != "" && isWord(l.in[0]) {
		l.write(" ")
	}
}

// word copies a name, a keyword or a number; some are the first part of a text.
func (l *lexer) word() error {
	n := 1
	for n < len(l.in) && isWord(l.in[n]) {
		n++
	}
	w := l.in[:n]
	switch rest := l.in[n:]; {
	case strings.HasPrefix(rest, "'") && l.isPrefix(w):
		l.in = rest
		return l.text(w, l.backslashes || l.escapeTexts && strings.EqualFold(w, "e"))
	case l.escapeTexts && strings.EqualFold(w, "u") && strings.HasPrefix(rest, "&'"):
		l.in = rest[1:]
		return l.text(w+"&", false)
	}
	l.copy(n)
	return nil
}

// isPrefix tells whether a word right before a quote belongs to the text: X'…', _utf8'…'.
func (l *lexer) isPrefix(w string) bool {
	switch strings.ToLower(w) {
	case "n", "x", "b":
		return true
	case "e":
		return l.escapeTexts
	}
	return l.backslashes && w[0] == '_'
}

// name copies a quoted name, which ends with end.
func (l *lexer) name(end byte) error {
	for i := 1; i < len(l.in); i++ {
		switch {
		case l.in[i] == mark[0]:
			return fmt.Errorf("{%s} stands in a quoted name (%.40s…); a value needs '…'", l.variables[0].Variable, strings.ReplaceAll(l.in, mark, "?"))
		case l.in[i] != end:
		case end != ']' && i+1 < len(l.in) && l.in[i+1] == end:
			i++ // doubled: the quote itself
		default:
			l.copy(i + 1)
			return nil
		}
	}
	return fmt.Errorf("%.40q: the quoted name has no end", l.in)
}

func (l *lexer) dashes() bool {
	if !strings.HasPrefix(l.in, "--") {
		return false
	}
	return !l.dashesNeedBlank || len(l.in) == 2 || l.in[2] <= ' ' && l.in[2] != mark[0]
}

func (l *lexer) lineEnd() int {
	if i := strings.IndexAny(l.in, "\n\r"); i >= 0 {
		return i
	}
	return len(l.in)
}

// comment copies n bytes; a variable in them is only its own name.
func (l *lexer) comment(n int) error {
	for text := l.in[:n]; text != ""; {
		before, after, is := strings.Cut(text, mark)
		l.out.WriteString(before)
		if is {
			l.out.WriteString("{" + string(l.take().Variable) + "}")
		}
		text = after
	}
	l.in, l.last = l.in[n:], ' '
	return nil
}

var errComment = errors.New("a /* comment has no end")

func (l *lexer) blockComment() error {
	depth := 0
	for i := 0; i+1 < len(l.in); i++ {
		switch l.in[i : i+2] {
		case "/*":
			if depth == 0 || l.nested {
				depth++
				i++
			}
		case "*/":
			depth--
			i++
		}
		if depth > 0 {
			continue
		}
		if l.isExecuted(l.in[:i+1]) && strings.Contains(l.in[:i+1], mark) {
			return fmt.Errorf("{%s} stands in a comment that is executed; take it out of there", l.variables[0].Variable)
		}
		return l.comment(i + 1)
	}
	return errComment
}

// isExecuted tells whether a comment is none: MySQL's /*!50100 … */, MariaDB's /*M! … */.
func (l *lexer) isExecuted(comment string) bool {
	return l.executed && (strings.HasPrefix(comment, "/*!") || strings.HasPrefix(comment, "/*M!"))
}
