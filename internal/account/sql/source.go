package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"usher/internal/account"
)

// A Source is a database of the organisation.
type Source struct {
	*plan
	asked *account.Servers[*sql.DB]
}

// open is the account.Open of a plan. A file must be there, and the lookup fit what is
// in it; servers may come later.
func (p *plan) open(ctx context.Context, at account.Site) (account.Source, error) {
	s := p.source(at)
	if p.dialect != sqLite {
		return s, nil
	}
	var err error
	s.asked.Each(func(name string, db *sql.DB) {
		if _, bad := s.look(ctx, db, account.Query{Name: nobody}); bad != nil && !errors.Is(bad, account.ErrUnknown) {
			err = fmt.Errorf("%s: %w", name, bad)
		}
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// source opens pools. Connections are made when they are needed.
func (p *plan) source(at account.Site) *Source {
	s := &Source{plan: p}
	var names []string
	var dbs []*sql.DB
	for _, one := range p.servers {
		names = append(names, one.name)
		dbs = append(dbs, p.pool(one.connect))
	}
	s.asked = account.NewServers(at.Log, p.Timeout, s.probe, names, dbs)
	return s
}

const (
	idle     = 5 * time.Minute  // a connection that nobody has used is closed before somebody between forgets it
	lifetime = 30 * time.Minute // so that a server that has moved is found
)

// pool keeps a few connections.
func (p *plan) pool(c driver.Connector) *sql.DB {
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(p.Pool)
	db.SetMaxIdleConns(p.Pool)
	db.SetConnMaxIdleTime(idle)
	db.SetConnMaxLifetime(lifetime)
	return db
}

// Close implements account.Store.
func (s *Source) Close() error {
	s.asked.Close()
	var errs []error
	s.asked.Each(func(_ string, db *sql.DB) {
		if err := db.Close(); !isGone(err) { // who needs no farewell
			errs = append(errs, err)
		}
	})
	return errors.Join(errs...)
}

// isGone tells whether an error says that a server had ended the connection already.
// MySQL's driver has one of its own for that, which is known by its words only.
func isGone(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || err != nil && err.Error() == "bad connection"
}

// Ask implements account.Source.
func (s *Source) Ask(ctx context.Context, q account.Query) (rec account.Record, err error) {
	err = s.asked.Do(ctx, func(ctx context.Context, name string, db *sql.DB) error {
		q.Trace.Asks(name, show(s.lookup.text, s.lookup.args(q)))
		rec.Fields, err = s.look(ctx, db, q)
		return err
	})
	return rec, err
}

// look asks one server. A connection that turns out to be dead is no answer: another
// one is taken.
func (p *plan) look(ctx context.Context, db querier, q account.Query) (f account.Fields, err error) {
	for range p.Pool + 1 {
		f, err = p.row(ctx, db, q)
		if !isDead(err) || ctx.Err() != nil {
			break
		}
	}
	return f, p.dialect.explain(err)
}

// nobody is a name that cannot exist: RFC 2606 §2.
const nobody = "usher-asks-whether-you-are-well@nobody.invalid"

// probe asks a server that has failed whether it can do its work again. What is left
// of the connections to it may be dead without looking so.
func (p *plan) probe(ctx context.Context, db *sql.DB) error {
	db.SetMaxIdleConns(0) // closes them
	db.SetMaxIdleConns(p.Pool)
	if _, err := p.look(ctx, db, account.Query{Name: nobody}); !isAnswer(err) {
		return err
	}
	return nil
}

// Uses is for account.Source.
func (s *Source) Uses() account.Uses { return s.Lookup.Uses() }

// Nearby is for account.Source.
func (s *Source) Nearby() bool { return s.dialect == sqLite }

// Health is for account.Source.
func (s *Source) Health() []account.Health { return s.asked.Health() }
