package sql

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"

	"usher/internal/account"
)

// Get implements account.Store: what the lookup says.
func (s *Source) Get(ctx context.Context, user string) (account.Fields, error) {
	if account.CheckName(user) != nil {
		return nil, account.ErrUnknown
	}
	rec, err := s.Ask(ctx, account.Query{Name: user})
	return named(rec.Fields), err
}

// named gives fields their own names. What has it already wins over an alias.
func named(f account.Fields) account.Fields {
	out := make(account.Fields, len(f))
	for name, value := range f {
		if to := account.FieldName(name); to == name || f[to] == "" {
			out[to] = value
		}
	}
	return out
}

// List implements account.Store, by the query list.
func (s *Source) List(ctx context.Context, glob string) iter.Seq2[account.Fields, error] {
	return func(yield func(account.Fields, error) bool) {
		err := s.listed(ctx, func(_ []string, rows iter.Seq2[account.Fields, error]) error {
			for f, err := range rows {
				if err != nil {
					return err
				}
				if fits, err := matches(glob, f["user"]); err != nil {
					return err
				} else if fits && !yield(f, nil) {
					return errStopped
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// errStopped ends a walk because its caller wants no more.
var errStopped = errors.New("stopped")

// matches compares without case. For us a / is a character like others.
func matches(glob, user string) (bool, error) {
	if glob == "" {
		return true, nil
	}
	flat := strings.NewReplacer("/", "\x01", `\`, `\\`)
	fits, err := path.Match(flat.Replace(strings.ToLower(glob)), strings.ReplaceAll(strings.ToLower(user), "/", "\x01"))
	if err != nil {
		return false, account.Invalidf("%.80q is no pattern: a [ has no ]", glob)
	}
	return fits, nil
}

// Export implements account.Store, by the query list.
func (s *Source) Export(ctx context.Context, f func(fields []string, rows iter.Seq2[account.Fields, error]) error) error {
	return s.listed(ctx, f)
}

// listed gives f the result of the query list.
func (s *Source) listed(ctx context.Context, f func([]string, iter.Seq2[account.Fields, error]) error) error {
	if s.listing.text == "" {
		return account.Invalidf("the source has no key list: the query for all accounts, such as SELECT name AS user, host FROM users")
	}
	one, err := s.well(ctx)
	if err != nil {
		return err
	}
	return s.patiently(one, func(db *sql.DB) error {
		return query(ctx, db, s.listing.text, nil, func(rows *sql.Rows) error {
			t, err := newTable(rows)
			if err != nil {
				return s.dialect.explain(err)
			}
			names, err := t.listNames()
			if err != nil {
				return err
			}
			return f(names, func(yield func(account.Fields, error) bool) {
				if err := t.each(yield); err != nil && !errors.Is(err, errStopped) {
					yield(nil, s.dialect.explain(err))
				}
			})
		})
	})
}

// listNames are the names of the fields of a list, user first.
func (t *table) listNames() ([]string, error) {
	names := []string{"user"}
	for _, column := range t.names {
		if name := account.FieldName(column); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if !slices.ContainsFunc(t.names, func(column string) bool { return account.FieldName(column) == "user" }) {
		return nil, account.Invalidf("list: no column is named user; write SELECT … AS user")
	}
	return names, nil
}

// each reads row by row.
func (t *table) each(yield func(account.Fields, error) bool) error {
	for t.rows.Next() {
		f, err := t.fields()
		if err != nil {
			return err
		}
		if !yield(named(f), nil) {
			return errStopped
		}
	}
	return t.rows.Err()
}

// patiently opens connections that wait for long answers, and closes them again.
func (s *Source) patiently(one server, f func(*sql.DB) error) error {
	db := s.pool(one.patient)
	return errors.Join(f(db), db.Close())
}

// well is the first server that is well.
func (s *Source) well(ctx context.Context) (one server, err error) {
	err = s.asked.Do(ctx, func(ctx context.Context, name string, db *sql.DB) error {
		one = s.servers[slices.IndexFunc(s.servers, func(s server) bool { return s.name == name })]
		if _, err := s.look(ctx, db, account.Query{Name: nobody}); !isAnswer(err) {
			return err
		}
		return nil
	})
	return one, err
}
