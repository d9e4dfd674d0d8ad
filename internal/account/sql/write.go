package sql

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"usher/internal/account"
)

// write is the table [accounts.write]: where "usher account" may change accounts. It
// names a table and not queries, so that usher can show what a change would overwrite.
type write struct {
	Table   string            `toml:"table"`   // as the database spells it; "schema.table" too
	Key     string            `toml:"key"`     // the column with the name; "local_part@domain": two columns
	Columns map[string]string `toml:"columns"` // by field; left out: the column of the field's name, or of an alias
}

func (w write) given() bool { return w.Table != "" || w.Key != "" || len(w.Columns) > 0 }

func (w write) check() error {
	switch {
	case !w.given():
		return nil
	case w.Table == "":
		return errors.New("write.table is missing: the table in which accounts are")
	case w.Key == "":
		return errors.New("write.key is missing: the column of the table that has the account's name")
	}
	for _, field := range slices.Sorted(maps.Keys(w.Columns)) {
		if account.FieldName(field) != field || w.Columns[field] == "" {
			return fmt.Errorf("write.columns: %q: write %s = \"…\" with the name of a column", field, account.FieldName(field))
		}
	}
	return nil
}

// keys are the columns of the key, and their values for a user.
func (w write) keys(user string) (columns []string, values []any) {
	local, domain, split := strings.Cut(w.Key, "@")
	if !split {
		return []string{w.Key}, []any{user}
	}
	name, of, _ := strings.Cut(user, "@")
	return []string{local, domain}, []any{name, of}
}

// fields says by field which column of the table holds it. A column of the field's own
// name goes before one of an alias.
func (w write) fields(columns []string) (map[string]int, error) {
	keys, _ := w.keys("")
	at := map[string]int{}
	for i, column := range columns {
		name := strings.ToLower(column)
		field := account.FieldName(name)
		if _, taken := at[field]; !slices.Contains(keys, column) && (!taken || field == name) {
			at[field] = i
		}
	}
	for field, column := range w.Columns {
		i := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, column) })
		if i < 0 {
			return nil, account.Invalidf("write.columns: the table %s has no column %q; there are %s", w.Table, column, strings.Join(columns, ", "))
		}
		maps.DeleteFunc(at, func(_ string, j int) bool { return j == i }) // it is this field only
		at[field] = i
	}
	return at, nil
}

// A sheet writes SQL for the table.
type sheet struct {
	write
	*dialect
	args []any
}

// value is the place of a value.
func (s *sheet) value(v any) string {
	s.args = append(s.args, v)
	return s.place(len(s.args))
}

// name quotes a name; of schema.table both.
func (s *sheet) name(name string) string {
	var parts []string
	for part := range strings.SplitSeq(name, ".") {
		parts = append(parts, s.quote+strings.ReplaceAll(part, s.quote, s.quote+s.quote)+s.quote)
	}
	return strings.Join(parts, ".")
}

// where finds the row of a user.
func (s *sheet) where(user string) string {
	var list []string
	columns, values := s.keys(user)
	for i, column := range columns {
		list = append(list, s.name(column)+" = "+s.value(values[i]))
	}
	return " WHERE " + strings.Join(list, " AND ")
}

func (s *sheet) selects(user, lock string) string {
	return "SELECT * FROM " + s.name(s.Table) + s.where(user) + lock
}

func (s *sheet) deletes(user string) string {
	return "DELETE FROM " + s.name(s.Table) + s.where(user)
}

// updates sets columns to values; nil is NULL.
func (s *sheet) updates(user string, to map[string]any) string {
	var list []string
	for _, column := range slices.Sorted(maps.Keys(to)) {
		list = append(list, s.name(column)+" = "+s.value(to[column]))
	}
	return "UPDATE " + s.name(s.Table) + " SET " + strings.Join(list, ", ") + s.where(user)
}

func (s *sheet) inserts(user string, row map[string]any) string {
	row = maps.Clone(row)
	columns, values := s.keys(user)
	for i, column := range columns {
		row[column] = values[i]
	}
	var names, places []string
	for _, column := range slices.Sorted(maps.Keys(row)) {
		names, places = append(names, s.name(column)), append(places, s.value(row[column]))
	}
	return "INSERT INTO " + s.name(s.Table) + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
}
