package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"usher/internal/account"
)

// A stored is a row of the table as it is.
type stored struct {
	columns []string
	cells   []cell
	at      map[string]int // by field: its column
}

type cell struct {
	text string
	null bool
}

func (s stored) equal(other stored) bool {
	return slices.Equal(s.columns, other.columns) && slices.Equal(s.cells, other.cells)
}

// fields are the row as an account's.
func (s stored) fields(user string) account.Fields {
	f := account.Fields{"user": user}
	for field, i := range s.at {
		if field != "user" && s.cells[i].text != "" {
			f[field] = s.cells[i].text
		}
	}
	return f
}

// row says by column what fields are to become.
func (s stored) row(f account.Fields) (map[string]any, error) {
	row := map[string]any{}
	for _, field := range slices.Sorted(maps.Keys(f)) {
		if field == "user" {
			continue
		}
		i, ok := s.at[field]
		if !ok {
			return nil, account.Invalidf("field %q: the table has no column for it, only %s; if one of these is meant, say so in write.columns", field, strings.Join(s.columns, ", "))
		}
		row[s.columns[i]] = nil
		if f[field] != "" {
			row[s.columns[i]] = f[field]
		}
	}
	return row, nil
}

// A writer is a database, or a transaction in it.
type writer struct {
	*Source
	db interface {
		querier
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
}

func (w writer) sheet() *sheet { return &sheet{write: w.Write, dialect: w.dialect} }

// read reads the row of a user. Without one, the error is ErrUnknown, and stored has
// the columns all the same.
func (w writer) read(ctx context.Context, user, lock string) (row stored, err error) {
	if account.CheckName(user) != nil {
		return row, unknown(user)
	}
	s := w.sheet()
	text := s.selects(user, lock)
	err = query(ctx, w.db, text, s.args, func(rows *sql.Rows) error {
		t, err := newTable(rows)
		if err != nil {
			return err
		}
		if row.columns, err = rows.Columns(); err != nil {
			return err
		}
		if row.at, err = w.Write.fields(row.columns); err != nil {
			return err
		}
		row.cells, err = t.one(user)
		return err
	})
	return row, w.explain(user, err)
}

// one reads the only row of a result.
func (t *table) one(user string) (cells []cell, err error) {
	for t.rows.Next() {
		if cells != nil {
			return nil, wrongf("two rows for %.80q", user)
		}
		if err := t.rows.Scan(t.into...); err != nil {
			return nil, err
		}
		for i, v := range t.cells {
			cells = append(cells, cell{plain(v, t.bits[i]), v == nil})
		}
	}
	if err := t.rows.Err(); err != nil {
		return nil, err
	}
	if cells == nil {
		return nil, unknown(user)
	}
	return cells, nil
}

func unknown(user string) error { return fmt.Errorf("user %.80q: %w", user, account.ErrUnknown) }

// explain says of whom an error is. What the database does not take is Invalid.
func (w writer) explain(user string, err error) error {
	var bad account.Invalid
	if err == nil || errors.Is(err, account.ErrUnknown) || errors.As(err, &bad) {
		return err
	}
	if c, ok := w.dialect.complaint(err); ok && c.exists {
		return fmt.Errorf("user %.80q: %w", user, account.ErrExists)
	}
	if err = w.dialect.explain(err); isAnswer(err) {
		return account.Invalidf("user %.80q: %w", user, err)
	}
	return fmt.Errorf("user %.80q: %w", user, err)
}

// run runs what must change one row.
func (w writer) run(ctx context.Context, user, text string, args []any) error {
	done, err := w.db.ExecContext(ctx, text, args...)
	if err != nil {
		return w.explain(user, err)
	}
	switch n, err := done.RowsAffected(); {
	case err != nil:
		return w.explain(user, err)
	case n != 1:
		return account.Invalidf("user %.80q: that would have changed %d rows; nothing was changed", user, n)
	}
	return nil
}

func (w writer) insert(ctx context.Context, f account.Fields) error {
	if err := account.CheckRow(f); err != nil {
		return err
	}
	was, err := w.read(ctx, f["user"], w.dialect.forUpdate)
	switch {
	case err == nil:
		return fmt.Errorf("user %.80q: %w", f["user"], account.ErrExists)
	case !errors.Is(err, account.ErrUnknown):
		return err
	}
	maps.DeleteFunc(f, func(_, value string) bool { return value == "" }) // the table may have a default
	row, err := was.row(f)
	if err != nil {
		return err
	}
	s := w.sheet()
	text := s.inserts(f["user"], row)
	return w.run(ctx, f["user"], text, s.args)
}

// update changes fields of a row that is locked.
func (w writer) update(ctx context.Context, user string, was stored, changes account.Fields) error {
	if to, ok := changes["user"]; ok && to != user {
		return account.Invalidf("user %q: the name cannot be changed; add %q and remove the old account", user, to)
	}
	row, err := was.row(changes)
	if err != nil || len(row) == 0 {
		return err
	}
	before := was.fields(user)
	after := maps.Clone(before)
	maps.Copy(after, changes)
	if _, bad := before.Account(user); bad == nil { // else it is not this change that is wrong
		if err := account.CheckRow(after); err != nil {
			return err
		}
	}
	s := w.sheet()
	text := s.updates(user, row)
	return w.run(ctx, user, text, s.args)
}

func (w writer) remove(ctx context.Context, user string) error {
	s := w.sheet()
	text := s.deletes(user)
	return w.run(ctx, user, text, s.args)
}

// again reads a row in the transaction, where nobody else can change it any more. What
// has been changed since it was read before stays as it is.
func (w writer) again(ctx context.Context, user string, before stored) error {
	now, err := w.read(ctx, user, w.dialect.forUpdate)
	if errors.Is(err, account.ErrUnknown) || err == nil && !now.equal(before) {
		return fmt.Errorf("user %.80q: %w", user, account.ErrChanged)
	}
	return err
}
