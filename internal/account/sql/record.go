package sql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"usher/internal/account"
)

// What a row of an account may be at most.
const (
	maxColumns = 100
	maxValue   = 64 << 10 // bytes
)

// querier is a database, a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query runs a query and gives its result to read.
func query(ctx context.Context, db querier, text string, args []any, read func(*sql.Rows) error) error {
	ctx, cancel := context.WithCancel(ctx)
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel() // nobody waits for what read has left
		rows.Close()
	}()
	return read(rows)
}

// row asks for the row of one account.
func (p *plan) row(ctx context.Context, db querier, q account.Query) (f account.Fields, err error) {
	err = query(ctx, db, p.lookup.text, p.lookup.args(q), func(rows *sql.Rows) error {
		f, err = oneRow(rows, q.Name)
		return err
	})
	return f, err
}

// oneRow reads a result that must be one row, or none. Of several results, as
// procedures give them, it is the first with columns.
func oneRow(rows *sql.Rows, user string) (account.Fields, error) {
	t, err := newTable(rows)
	for err == nil && len(t.names) == 0 && rows.NextResultSet() {
		t, err = newTable(rows)
	}
	if err != nil {
		return nil, err
	}
	var f account.Fields
	for rows.Next() {
		if f != nil {
			return nil, wrongf("two rows for %.80q: the lookup must give one", user)
		}
		if f, err = t.fields(); err != nil {
			return nil, err
		}
	}
	for rows.NextResultSet() { // the last may say that the procedure has failed
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, account.ErrUnknown
	}
	return f, nil
}

// A table reads the rows of a result.
type table struct {
	rows  *sql.Rows
	names []string // of the columns, in small letters
	bits  []bool   // columns that are numbers but come as bytes
	cells []any
	into  []any // where the cells are
}

func newTable(rows *sql.Rows) (*table, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if len(names) > maxColumns {
		return nil, wrongf("the result has %d columns; %d are allowed", len(names), maxColumns)
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	t := &table{rows: rows, cells: make([]any, len(names))}
	for i, name := range names {
		t.names = append(t.names, strings.ToLower(name))
		t.bits = append(t.bits, types[i].DatabaseTypeName() == "BIT")
		t.into = append(t.into, &t.cells[i])
	}
	return t, nil
}

// fields is the row that rows stands at. What is NULL is no field.
func (t *table) fields() (account.Fields, error) {
	if err := t.rows.Scan(t.into...); err != nil {
		return nil, err
	}
	f := account.Fields{}
	for i, name := range t.names {
		v, err := text(t.cells[i], t.bits[i])
		switch {
		case err != nil:
			return nil, wrongf("column %.80q: %w", name, err)
		case v == "":
		case f[name] != "" && f[name] != v:
			return nil, wrongf("two columns are named %.80q, with different values", name)
		default:
			f[name] = v
		}
	}
	return f, nil
}

// text is a value of an account.
func text(v any, bits bool) (string, error) {
	s := plain(v, bits)
	switch {
	case len(s) > maxValue:
		return "", fmt.Errorf("its value has %d bytes; %d are allowed", len(s), maxValue)
	case !utf8.ValidString(s):
		return "", errors.New("its value is not valid UTF-8")
	}
	return s, nil
}

// plain is a value as people write it. NULL is "".
func plain(v any, bits bool) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		if bits && len(v) <= 8 {
			return strconv.FormatUint(binary.BigEndian.Uint64(append(make([]byte, 8-len(v)), v...)), 10)
		}
		return string(v)
	case bool:
		return map[bool]string{true: "Y", false: "N"}[v]
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32)
	case time.Time:
		return v.UTC().Format(time.DateTime)
	}
	return fmt.Sprint(v) // whole numbers
}
