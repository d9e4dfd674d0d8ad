package embedded

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"usher/internal/account"
)

// Ask implements account.Source.
func (s *Store) Ask(ctx context.Context, q account.Query) (rec account.Record, err error) {
	if ctx.Err() != nil || account.CheckName(q.Name) != nil {
		return rec, cmp.Or(ctx.Err(), account.ErrUnknown)
	}
	q.Trace.Asks(s.path, "SELECT … FROM accounts WHERE user = "+strconv.Quote(q.Name))
	err = s.use(ctx, func(h *handles) error {
		now, known := h.memory.now() // before the row is read, so that what is kept is never older
		if known {
			rec.Fields = h.memory.row(q.Name, now)
		}
		if rec.Fields != nil {
			return nil
		}
		rec.Fields, err = h.get(ctx, q.Name)
		if err == nil && known {
			h.memory.keep(q.Name, rec.Fields, now)
		}
		return err
	})
	return rec, err
}

// Nearby is for account.Source: memory keeps what is worth keeping.
func (s *Store) Nearby() bool { return true }

// Get returns the row of one account, or account.ErrUnknown.
func (s *Store) Get(ctx context.Context, user string) (f account.Fields, err error) {
	if account.CheckName(user) != nil {
		return nil, account.ErrUnknown
	}
	err = s.use(ctx, func(h *handles) error {
		f, err = h.get(ctx, user)
		return err
	})
	return f, err
}

// get waits for its turn as long as ctx lasts, but not for the answer: one row of
// a local file is there at once, or the disk hangs and nothing helps. For an
// answer that can be given up the drivers start two goroutines.
func (h *handles) get(ctx context.Context, user string) (f account.Fields, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case h.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d look-ups are under way and none ends: %w", readers, ctx.Err())
	}
	defer func() { <-h.turns }()
	f, err = readRow(h.lookup.QueryRowContext(context.WithoutCancel(ctx), user).Scan)
	return f, noRowIsUnknown(err)
}

func noRowIsUnknown(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return account.ErrUnknown
	}
	return err
}

// List gives the accounts whose user matches glob (* ? […], in any case; "" for
// all), in the order of user. They are those of one moment, and are read one by
// one.
func (s *Store) List(ctx context.Context, glob string) iter.Seq2[account.Fields, error] {
	return func(yield func(account.Fields, error) bool) {
		err := s.use(ctx, func(h *handles) error { return each(ctx, h.read, glob, yield) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a walk because its caller wants no more.
var errStopped = errors.New("stopped")

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func each(ctx context.Context, db querier, glob string, yield func(account.Fields, error) bool) error {
	if glob == "" {
		glob = "*"
	}
	rows, err := db.QueryContext(ctx, "SELECT "+columnList+" FROM accounts WHERE lower(user) GLOB ? ORDER BY user", lower(glob))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		f, err := readRow(rows.Scan)
		if err != nil {
			return err
		}
		if !yield(f, nil) {
			return errStopped
		}
	}
	return rows.Err()
}

// Export calls f with the names of all fields that are in use, user first, and
// with all accounts, both of one moment.
func (s *Store) Export(ctx context.Context, f func(fields []string, rows iter.Seq2[account.Fields, error]) error) error {
	return s.use(ctx, func(h *handles) error {
		tx, err := h.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it has only read
		names, err := fieldsInUse(ctx, tx)
		if err != nil {
			return err
		}
		err = f(names, func(yield func(account.Fields, error) bool) {
			if err := each(ctx, tx, "", yield); err != nil && !errors.Is(err, errStopped) {
				yield(nil, s.explain(err))
			}
		})
		return asCallers(err)
	})
}

func fieldsInUse(ctx context.Context, db querier) ([]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT key FROM accounts, json_each(attrs) WHERE attrs <> '' ORDER BY key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := slices.Clone(columns)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
