package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Mistake is one thing that is wrong with a file: where, what, and what to
// do about it. Line and Column count from 1; they are 0 where nothing in the
// file is to blame, as for a whole table that is not there.
type Mistake struct {
	File         string
	Line, Column int // Column in bytes
	Key          string
	What, Remedy string
}

// Error is one line, its beginning as compilers write it.
func (m Mistake) Error() string {
	where := m.File
	if m.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
	}
	parts := []string{where, m.Key, m.What, m.Remedy}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// Mistakes are all mistakes of a file, in its order.
type Mistakes []Mistake

// Error has one line for each mistake.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Mistake.
func (ms Mistakes) Unwrap() []error {
	errs := make([]error, len(ms))
	for i, m := range ms {
		errs[i] = m
	}
	return errs
}

func (ms Mistakes) sorted() Mistakes {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return ms
}

// err is nil if there are none.
func (ms Mistakes) err() error {
	if len(ms) == 0 {
		return nil
	}
	return ms.sorted()
}

// Join puts the mistakes of several looks at a file together, in the order of
// the file. Of a key that an earlier look found wrong, or of a table with such a
// key, nothing more is said: it may follow from that mistake. Other errors come
// first.
func Join(errs ...error) error {
	var all Mistakes
	var others []error
	for _, err := range errs {
		found, ok := errors.AsType[Mistakes](err)
		if !ok {
			others = append(others, err)
		}
		before := all
		for _, m := range found {
			if !before.touch(m.Key) {
				all.add(m)
			}
		}
	}
	return errors.Join(append(others, all.err())...)
}

// touch tells whether one of the mistakes is about a key or something in it.
func (ms Mistakes) touch(key string) bool {
	return slices.ContainsFunc(ms, func(m Mistake) bool {
		return m.Key == key || strings.HasPrefix(m.Key, key+".") || strings.HasPrefix(m.Key, key+"[")
	})
}

// add leaves out what has been said before: two ways through the decoder can
// meet the same value.
func (ms *Mistakes) add(m Mistake) {
	if !slices.Contains(*ms, m) {
		*ms = append(*ms, m)
	}
}

// Mistake makes a mistake of something that was found later than here, by
// whoever gives the key its meaning. The key is written as in "listen[0].tls"
// or "backend.east.addr[1]". If it is absent, the position is the one of the
// table that it is missing from.
func (c *Config) Mistake(key, what, remedy string) Mistake {
	return c.doc.mistake(key, what, remedy)
}

// mistake is about the value of a key.
func (d *document) mistake(key, what, remedy string) Mistake {
	at := d.index.find(key).value
	return Mistake{d.file, at.line, at.column, key, what, remedy}
}

// mistakeInKey is about the key itself.
func (d *document) mistakeInKey(key, what, remedy string) Mistake {
	at := d.index.find(key).key
	return Mistake{d.file, at.line, at.column, key, what, remedy}
}
