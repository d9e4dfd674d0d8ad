package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	lib "modernc.org/sqlite/lib"

	"usher/internal/account"
)

// Add stores a new account, or returns account.ErrExists. An account that could not log
// in is refused with an Invalid error.
func (s *Store) Add(ctx context.Context, f account.Fields) error {
	f, err := account.Clean(f)
	if err != nil {
		return err
	}
	return s.change(ctx, func(w *writer) error { return w.add(ctx, f) })
}

// Set changes some fields of an account; the value "" removes a field. What is
// not named in changes stays as it is.
func (s *Store) Set(ctx context.Context, user string, changes account.Fields) error {
	changes, err := account.Clean(changes)
	if err != nil {
		return err
	}
	return s.change(ctx, func(w *writer) error { return w.set(ctx, user, changes) })
}

// Remove removes accounts: all of them, or none if one is unknown.
func (s *Store) Remove(ctx context.Context, users ...string) error {
	return s.change(ctx, func(w *writer) error {
		for _, user := range users {
			if err := w.remove(ctx, user); err != nil {
				return err
			}
		}
		return nil
	})
}

// change runs f in one transaction: all that it does is kept, or nothing.
func (s *Store) change(ctx context.Context, f func(*writer) error) error {
	return s.use(ctx, func(h *handles) error {
		conn, err := h.write.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		w, err := newWriter(ctx, tx)
		if err == nil {
			err = f(w)
		}
		if err != nil {
			_ = tx.Rollback() // the first error says what happened
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		emptyJournal(ctx, conn)
		return nil
	})
}

// emptyJournal moves what was written from the journal into the database, so
// that accounts.db can be copied and put back as one file. That fails while
// somebody reads for long; then the next change does it.
func emptyJournal(ctx context.Context, conn *sql.Conn) {
	_, _ = conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA busy_timeout(200); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout(10000)")
}

// A writer is one transaction with its statements. The fields that it is given
// have gone through account.Clean.
type writer struct {
	insert, get, update, del *sql.Stmt
	now                      string
}

func newWriter(ctx context.Context, tx *sql.Tx) (*writer, error) {
	w := &writer{now: time.Now().UTC().Format(time.RFC3339)}
	marks := strings.Repeat("?, ", len(columns)+2)
	for _, p := range []struct {
		into  **sql.Stmt
		query string
	}{
		{&w.insert, "INSERT INTO accounts (" + columnList + ", changed) VALUES (" + strings.TrimSuffix(marks, ", ") + ")"},
		{&w.get, "SELECT " + columnList + " FROM accounts WHERE user = ?"},
		{&w.update, "UPDATE accounts SET (" + columnList + ", changed) = (" + strings.TrimSuffix(marks, ", ") + ") WHERE user = ?"},
		{&w.del, "DELETE FROM accounts WHERE user = ?"},
	} {
		stmt, err := tx.PrepareContext(ctx, p.query) // closed with the transaction
		if err != nil {
			return nil, err
		}
		*p.into = stmt
	}
	return w, nil
}

func (w *writer) add(ctx context.Context, f account.Fields) error {
	maps.DeleteFunc(f, func(_, value string) bool { return value == "" })
	if err := account.CheckRow(f); err != nil {
		return err
	}
	values, err := writeRow(f)
	if err != nil {
		return err
	}
	_, err = w.insert.ExecContext(ctx, append(values, w.now)...)
	if code(err) == lib.SQLITE_CONSTRAINT {
		return fmt.Errorf("user %q: %w", f["user"], account.ErrExists)
	}
	return err
}

func (w *writer) set(ctx context.Context, user string, changes account.Fields) error {
	f, err := w.row(ctx, user)
	if err != nil {
		return err
	}
	if to, ok := changes["user"]; ok && lower(to) != lower(f["user"]) {
		return account.Invalidf("user %q: the name cannot be changed; add %q and remove the old account", user, to)
	}
	maps.Copy(f, changes)
	maps.DeleteFunc(f, func(_, value string) bool { return value == "" })
	if err := account.CheckRow(f); err != nil {
		return err
	}
	values, err := writeRow(f)
	if err != nil {
		return err
	}
	_, err = w.update.ExecContext(ctx, append(values, w.now, user)...)
	return err
}

func (w *writer) row(ctx context.Context, user string) (account.Fields, error) {
	if account.CheckName(user) != nil {
		return nil, unknown(user)
	}
	f, err := readRow(w.get.QueryRowContext(ctx, user).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, unknown(user)
	}
	return f, err
}

func (w *writer) remove(ctx context.Context, user string) error {
	if account.CheckName(user) != nil {
		return unknown(user)
	}
	done, err := w.del.ExecContext(ctx, user)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 {
		return errors.Join(err, unknown(user))
	}
	return nil
}

func unknown(user string) error { return fmt.Errorf("user %.80q: %w", user, account.ErrUnknown) }
