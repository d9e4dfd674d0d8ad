package sql

import (
	"fmt"
	"strconv"
	"strings"

	"usher/internal/account"
)

// A statement is a query in which values have places. What a client says is always
// such a value, never a part of the text.
type statement struct {
	text   string
	values []account.Template // one for each place
}

// compile makes a statement of a query with variables. A variable becomes a place; a
// text in quotes that has variables becomes one place as a whole.
func compile(d *dialect, t account.Template) (statement, error) {
	l := lexer{dialect: d}
	for _, p := range t {
		if p.Variable != "" {
			l.in += mark
			l.variables = append(l.variables, p)
			continue
		}
		if strings.Contains(p.Text, mark) {
			return statement{}, fmt.Errorf("there is a NUL in it")
		}
		l.in += p.Text
	}
	for l.in != "" {
		if err := l.token(); err != nil {
			return statement{}, err
		}
	}
	return statement{l.out.String(), l.values}, nil
}

// args are the values for a query.
func (s statement) args(q account.Query) []any {
	args := make([]any, len(s.values))
	for i, t := range s.values {
		args[i] = t.Expand(q, nil)
	}
	return args
}

// show writes the statement and its values, for people.
func show(text string, args []any) string {
	var b strings.Builder
	b.WriteString(text)
	for i, arg := range args {
		s, _ := arg.(string)
		b.WriteString([]string{"  -- ", ", "}[min(i, 1)] + strconv.Quote(s))
	}
	return b.String()
}
