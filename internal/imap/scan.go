package imap

import (
	"errors"
	"strconv"
	"strings"

	"usher/internal/wire"
)

// errSyntax says that a command does not follow the grammar. It is answered with
// BAD, and the conversation goes on.
var errSyntax = errors.New("syntax")

// A scanner reads one command by the grammar of RFC 9051 §9. Literals are asked
// for as they come.
type scanner struct {
	conn *wire.Conn
	rest string // of the line
	size int    // of the line
}

func newScanner(c *wire.Conn, line string) *scanner { return &scanner{c, line, len(line)} }

// show lets a trace tell what was read of the line so far.
func (s *scanner) show() { s.conn.Show(s.size - len(s.rest)) }

// take returns the longest run of bytes that fit, which must not be empty.
func (s *scanner) take(fits func(byte) bool) (string, error) {
	n := 0
	for n < len(s.rest) && fits(s.rest[n]) {
		n++
	}
	if n == 0 {
		return "", errSyntax
	}
	var word string
	word, s.rest = s.rest[:n], s.rest[n:]
	return word, nil
}

func (s *scanner) space() error {
	if !strings.HasPrefix(s.rest, " ") {
		return errSyntax
	}
	s.rest = s.rest[1:]
	return nil
}

func (s *scanner) end() error {
	if s.rest != "" {
		return errSyntax
	}
	return nil
}

// tag reads a command's tag and the blank behind it. What is no tag is answered
// with "*".
func (s *scanner) tag() (string, error) {
	tag, err := s.take(isTagChar)
	if err == nil {
		err = s.space()
	}
	if err != nil {
		tag = "*"
	}
	return tag, err
}

func isAtomChar(b byte) bool {
	return b > 0x20 && b < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(b))
}

func isAStringChar(b byte) bool { return isAtomChar(b) || b == ']' }

func isTagChar(b byte) bool { return isAStringChar(b) && b != '+' }

// astring = 1*ASTRING-CHAR / string
func (s *scanner) astring() (string, error) {
	switch {
	case strings.HasPrefix(s.rest, `"`):
		return s.quoted()
	case strings.HasPrefix(s.rest, "{"):
		return s.literal()
	}
	return s.take(isAStringChar)
}

// quoted takes UTF-8 too: RFC 9051 allows it, and clients of RFC 3501 send it.
func (s *scanner) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), nil
		case '\\':
			i++
			if i == len(s.rest) || s.rest[i] != '"' && s.rest[i] != '\\' {
				return "", errSyntax
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errSyntax
}

// literal reads {n}, which waits for our word, and {n+}, which does not: RFC 7888.
func (s *scanner) literal() (string, error) {
	n, sync, ok := announced(s.rest)
	if !ok {
		return "", errSyntax
	}
	s.rest = ""
	if n > wire.MaxLiteral {
		if sync {
			return "", errSyntax // it was not sent yet, and now will not be
		}
		return "", wire.ErrTooLong
	}
	if sync {
		if err := s.conn.WriteLine("+ OK"); err != nil {
			return "", err
		}
	}
	return s.fetch(n)
}

// fetch reads a literal and the rest of the line behind it. A CR or NUL in one
// is no reason to leave the other: it would be taken for a command.
func (s *scanner) fetch(n int) (string, error) {
	text, err := s.conn.ReadN(n)
	if err != nil && !errors.Is(err, wire.ErrUnclean) {
		return "", err
	}
	var lineErr error
	s.rest, lineErr = s.conn.ReadLine()
	s.size = len(s.rest)
	return text, errors.Join(err, lineErr)
}

// announced reads a literal's announcement at the end of a line.
func announced(s string) (n int, sync, ok bool) {
	s, ok = strings.CutSuffix(s, "}")
	if !ok || !strings.HasPrefix(s, "{") {
		return 0, false, false
	}
	digits, plus := strings.CutSuffix(s[1:], "+")
	if len(digits) == 0 || strings.Trim(digits, "0123456789") != "" {
		return 0, false, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		n = wire.MaxLiteral + 1 // as good as any number over the bound
	}
	return n, !plus, true
}

// skip leaves a command that is not understood: literals that its client sends
// without waiting belong to it and must not be taken for commands.
func (s *scanner) skip() error {
	for {
		i := strings.LastIndexByte(s.rest, '{')
		if i < 0 {
			return nil
		}
		n, sync, ok := announced(s.rest[i:])
		if !ok || sync {
			return nil
		}
		if _, err := s.fetch(n); err != nil && !errors.Is(err, wire.ErrUnclean) {
			return err
		}
	}
}
