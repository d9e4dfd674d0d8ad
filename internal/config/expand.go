package config

import (
	"fmt"
	"strings"
)

// An expander puts the environment into every string of a tree: ${VAR} and
// ${VAR:-default}. It knows nothing of what the strings are for.
type expander struct {
	getenv func(string) (string, bool)
	wrong  func(key, what, remedy string)
}

// broken stands where a value has a mistake already, so that the decoder does
// not add another one for the same reason.
type broken struct{}

func (e *expander) table(t map[string]any, key string) {
	for name, v := range t {
		t[name] = e.value(v, join(key, name))
	}
}

func (e *expander) value(v any, key string) any {
	switch v := v.(type) {
	case string:
		return e.text(v, key)
	case map[string]any:
		e.table(v, key)
	case []any:
		for i := range v {
			v[i] = e.value(v[i], element(key, i))
		}
	}
	return v
}

// text expands one string. A dollar sign that is not before a brace is itself:
// password hashes are full of them.
func (e *expander) text(s, key string) any {
	var b strings.Builder
	for s != "" {
		head, tail, _ := strings.Cut(s, "$")
		b.WriteString(head)
		switch {
		case len(head) == len(s):
			return b.String()
		case strings.HasPrefix(tail, "${"):
			b.WriteString("${")
			s = tail[len("${"):]
		case strings.HasPrefix(tail, "{"):
			name, rest, closed := strings.Cut(tail[1:], "}")
			v, ok := e.variable(name, closed, key)
			if !ok {
				return broken{}
			}
			b.WriteString(v)
			s = rest
		default:
			b.WriteString("$")
			s = tail
		}
	}
	return b.String()
}

// variable gives the value of what is between the braces.
func (e *expander) variable(inside string, closed bool, key string) (string, bool) {
	if !closed {
		e.wrong(key, "${ without a closing }", "add the }, or write $${ for a plain ${")
		return "", false
	}
	name, def, hasDefault := strings.Cut(inside, ":-")
	v, set := e.getenv(name)
	switch {
	case set && (v != "" || !hasDefault): // as in the shell, :- is also for an empty one
		return v, true
	case hasDefault:
		return def, true
	}
	e.wrong(key, fmt.Sprintf("the environment has no variable %.80q", name),
		"set it, or write ${NAME:-default}, or $${ for a plain ${")
	return "", false
}
