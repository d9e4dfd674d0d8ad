package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"usher/internal/account"
)

// Import stores many accounts in one transaction: all of them, or none. The
// error names the line of the first bad row. progress, if not nil, is called
// with the number of rows done.
func (s *Store) Import(ctx context.Context, rows iter.Seq2[account.Row, error], existing account.Existing, progress func(int)) (n int, err error) {
	err = s.change(ctx, func(w *writer) error {
		n, err = w.load(ctx, rows, existing, progress)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (w *writer) load(ctx context.Context, rows iter.Seq2[account.Row, error], existing account.Existing, progress func(int)) (int, error) {
	lines := map[string]int{} // of each user, as NOCASE compares them
	for row, err := range rows {
		if err != nil {
			return 0, callers{err}
		}
		f, err := account.Clean(row.Fields)
		if err != nil {
			return 0, atLine(row.Line, err)
		}
		if first, twice := lines[lower(f["user"])]; twice {
			return 0, account.Invalidf("line %d: user %q stands on line %d already; remove one of them", row.Line, f["user"], first)
		}
		lines[lower(f["user"])] = row.Line
		if err := w.put(ctx, f, existing); err != nil {
			return 0, atLine(row.Line, err)
		}
		if progress != nil {
			progress(len(lines))
		}
	}
	return len(lines), nil
}

func (w *writer) put(ctx context.Context, f account.Fields, existing account.Existing) error {
	if existing == account.Update {
		err := w.set(ctx, f["user"], f)
		if !errors.Is(err, account.ErrUnknown) {
			return err
		}
	}
	err := w.add(ctx, f)
	if errors.Is(err, account.ErrExists) {
		return fmt.Errorf("%w; --update would change it", err)
	}
	return err
}

func atLine(line int, err error) error {
	var bad account.Invalid
	if errors.As(err, &bad) {
		return account.Invalidf("line %d: %w", line, err)
	}
	return fmt.Errorf("line %d: %w", line, err)
}
