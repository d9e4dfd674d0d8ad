package sql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"usher/internal/account"
)

// Examine implements account.Examiner: each server is asked for a name that cannot
// exist, in a transaction that is rolled back.
func (s *Source) Examine(ctx context.Context, report func(what string, err error)) {
	for _, file := range s.secretFiles() {
		report(file, private(file))
	}
	s.asked.Each(func(name string, db *sql.DB) {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, 10*time.Second))
		defer cancel()
		what := s.dialect.name + " " + name
		err := s.examine(ctx, db, func(tx *sql.Tx) error { return s.tryLookup(ctx, tx) })
		if report(what, err); err != nil {
			return
		}
		if s.listing.text != "" {
			report(what+": list", s.examine(ctx, db, func(tx *sql.Tx) error { return s.tryList(ctx, tx) }))
		}
		if s.Write.given() {
			report(what+": write", s.examine(ctx, db, func(tx *sql.Tx) error { return s.tryWrite(ctx, tx) }))
		}
	})
}

// examine tries something in a transaction that is rolled back. Where PostgreSQL wants
// to be told the types of values, the driver learns them one by one.
func (s *Source) examine(ctx context.Context, db *sql.DB, try func(*sql.Tx) error) (err error) {
	for range len(s.lookup.values) + 1 {
		tx, bad := db.BeginTx(ctx, nil)
		if bad != nil {
			return s.dialect.explain(bad)
		}
		err = try(tx)
		_ = tx.Rollback() // nothing was to be kept
		if c, ok := s.dialect.complaint(err); !ok || c.code != indeterminateDatatype {
			break
		}
	}
	return s.dialect.explain(err)
}

func (s *Source) tryLookup(ctx context.Context, tx *sql.Tx) error {
	return query(ctx, tx, s.lookup.text, s.lookup.args(account.Query{Name: nobody}), func(rows *sql.Rows) error {
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		if _, err := oneRow(rows, nobody); err != nil && !errors.Is(err, account.ErrUnknown) {
			return err
		}
		return whoChecks(names)
	})
}

// whoChecks says that a lookup leaves passwords to the backend without saying so.
func whoChecks(columns []string) error {
	for _, c := range columns {
		switch account.FieldName(c) {
		case "password", "nopassword", "options":
			return nil
		}
	}
	return wrongf("it works, but gives neither password nor nopassword, so that only the backend checks passwords; if that is meant, add 'Y' AS nopassword (or set nopassword)")
}

func (s *Source) tryList(ctx context.Context, tx *sql.Tx) error {
	return query(ctx, tx, s.listing.text, nil, func(rows *sql.Rows) error {
		t, err := newTable(rows)
		if err != nil {
			return err
		}
		if _, err := t.listNames(); err != nil {
			return wrong{err}
		}
		if rows.Next() {
			_, err = t.fields()
		}
		return errors.Join(err, rows.Err())
	})
}

func (s *Source) tryWrite(ctx context.Context, tx *sql.Tx) error {
	_, err := writer{s, tx}.read(ctx, nobody, s.dialect.forUpdate)
	if errors.Is(err, account.ErrUnknown) {
		return nil
	}
	return err
}

// secretFiles are the files that we know of and that hold passwords, hashes or keys.
func (s *Source) secretFiles() (list []string) {
	if s.dialect == sqLite {
		return []string{s.servers[0].name}
	}
	pairs, _ := parsePairs(s.DSN)
	if u, err := url.Parse(s.DSN); err == nil && !hasPairs(s.DSN) {
		for key, values := range u.Query() {
			pairs = append(pairs, pair{key, values[len(values)-1]})
		}
	}
	for _, p := range pairs {
		if slices.Contains([]string{"sslkey", "passfile"}, p.key) && p.value != "" {
			list = append(list, p.value)
		}
	}
	return list
}

// private says that others may read a file.
func private(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return flat{err, wayTodo(err)}
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return fmt.Errorf("everybody on this machine can read or change it (mode %04o), and there are secrets in it: chmod o= %q", mode, file)
	}
	return nil
}

var (
	_ account.Store    = (*Source)(nil)
	_ account.Examiner = (*Source)(nil)
)
