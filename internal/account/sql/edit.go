package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"usher/internal/account"
)

// patience is how long a change may wait for somebody who holds the row.
const patience = 30 * time.Second

// Add implements account.Store.
func (s *Source) Add(ctx context.Context, f account.Fields) error {
	f, err := account.Clean(f)
	if err != nil {
		return err
	}
	return s.changing(ctx, func(ctx context.Context, db *sql.DB) error {
		return s.inTransaction(ctx, db, func(w writer) error { return w.insert(ctx, f) })
	})
}

// Set implements account.Store.
func (s *Source) Set(ctx context.Context, user string, to account.Fields) error {
	to, err := account.Clean(to)
	if err != nil {
		return err
	}
	return s.changing(ctx, func(ctx context.Context, db *sql.DB) error {
		before, err := writer{s, db}.read(ctx, user, "")
		if err != nil {
			return err
		}
		return s.inTransaction(ctx, db, func(w writer) error {
			if err := w.again(ctx, user, before); err != nil {
				return err
			}
			return w.update(ctx, user, before, to)
		})
	})
}

// Remove implements account.Store.
func (s *Source) Remove(ctx context.Context, users ...string) error {
	return s.changing(ctx, func(ctx context.Context, db *sql.DB) error {
		var before []stored
		for _, user := range users {
			row, err := writer{s, db}.read(ctx, user, "")
			if err != nil {
				return err
			}
			before = append(before, row)
		}
		return s.inTransaction(ctx, db, func(w writer) error {
			for i, user := range users {
				if err := w.again(ctx, user, before[i]); err != nil {
					return err
				}
				if err := w.remove(ctx, user); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Import implements account.Store: all rows, or none.
func (s *Source) Import(ctx context.Context, rows iter.Seq2[account.Row, error], existing account.Existing, progress func(int)) (n int, err error) {
	err = s.first(func(db *sql.DB) error {
		return s.inTransaction(ctx, db, func(w writer) error {
			n, err = w.load(ctx, rows, existing, progress)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (w writer) load(ctx context.Context, rows iter.Seq2[account.Row, error], existing account.Existing, progress func(int)) (int, error) {
	lines := map[string]int{} // by user
	for row, err := range rows {
		if err != nil {
			return 0, err
		}
		f, err := account.Clean(row.Fields)
		if err != nil {
			return 0, account.Invalidf("line %d: %w", row.Line, err)
		}
		if first, twice := lines[f["user"]]; twice {
			return 0, account.Invalidf("line %d: user %q stands on line %d already; remove one of them", row.Line, f["user"], first)
		}
		lines[f["user"]] = row.Line
		if err := w.put(ctx, f, existing); err != nil {
			return 0, fmt.Errorf("line %d: %w", row.Line, err)
		}
		if progress != nil {
			progress(len(lines))
		}
	}
	return len(lines), nil
}

func (w writer) put(ctx context.Context, f account.Fields, existing account.Existing) error {
	if existing == account.Update {
		was, err := w.read(ctx, f["user"], w.dialect.forUpdate)
		if err == nil {
			return w.update(ctx, f["user"], was, f)
		}
		if !errors.Is(err, account.ErrUnknown) {
			return err
		}
	}
	err := w.insert(ctx, f)
	if errors.Is(err, account.ErrExists) {
		return fmt.Errorf("%w; --update would change it", err)
	}
	return err
}

// changing is first, for what ends soon.
func (s *Source) changing(ctx context.Context, f func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.first(func(db *sql.DB) error { return f(ctx, db) })
}

// first opens connections to the first server: the others may be copies, in which a
// change would be lost.
func (s *Source) first(f func(*sql.DB) error) error {
	if !s.Write.given() {
		return account.Invalidf("accounts of this source cannot be changed: it has no [accounts.write] with table and key")
	}
	return s.patiently(s.servers[0], f)
}

// inTransaction keeps all that f does, or nothing.
func (s *Source) inTransaction(ctx context.Context, db *sql.DB, f func(writer) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return s.dialect.explain(err)
	}
	if err := f(writer{s, tx}); err != nil {
		_ = tx.Rollback() // the first error says what happened
		return err
	}
	return s.dialect.explain(tx.Commit())
}
