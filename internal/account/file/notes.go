package file

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"usher/internal/account"
)

// notes are what is wrong with files.
type notes struct {
	first []error
	more  int // than these
}

// mostNotes are kept: in a wrong file everybody's line is wrong.
const mostNotes = 10

func (n *notes) full() bool { return len(n.first) == mostNotes }

func (n *notes) add(format string, args ...any) {
	if n.full() {
		n.more++
		return
	}
	n.first = append(n.first, fmt.Errorf(format, args...))
}

func (n *notes) texts() (texts []string) {
	for _, err := range n.first {
		texts = append(texts, err.Error())
	}
	if n.more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more of this kind", n.more))
	}
	return texts
}

func (n *notes) err() error {
	if len(n.first) == 0 {
		return nil
	}
	return errors.New(strings.Join(n.texts(), "\n"))
}

// CheckName says why nobody can have a name that stands in a file.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("no name is at its beginning")
	case len(name) > account.MaxName:
		return fmt.Errorf("the name has more than %d bytes", account.MaxName)
	case !utf8.ValidString(name):
		return errors.New("the name is not valid UTF-8")
	case strings.HasPrefix(name, "\ufeff"):
		return errors.New("the file begins with a byte order mark; save it without")
	case strings.TrimSpace(name) != name:
		return errors.New("white space stands before or behind the name")
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a control character is in the name")
	}
	return nil
}
