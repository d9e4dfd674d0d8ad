// Package sql asks databases that an organisation has already who somebody is and
// where the mail is: PostgreSQL, MySQL and MariaDB, SQLite.
//
// Read Source.Ask first. A query is written by the operator; lexer.go finds the
// variables in it and makes places of them, to which values are bound. record.go
// decides what the row that comes back says, store.go and write.go what "usher
// account" may do. postgres.go, mysql.go and sqlite.go know the servers.
package sql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "sql".
type settings struct {
	Driver  string           `toml:"driver" default:"sqlite" oneof:"sqlite postgres mysql"`
	DSN     string           `toml:"dsn" as:"secret"`
	Hosts   []string         `toml:"hosts"`
	CA      string           `toml:"ca" as:"path"`
	Lookup  account.Template `toml:"lookup"`
	List    account.Template `toml:"list"`
	Write   write            `toml:"write"`
	Pool    int              `toml:"pool" default:"8"`
	Timeout time.Duration    `toml:"timeout" default:"5s"`
}

// Driver is the account.Driver of type "sql". A block with driver = "sqlite" and
// neither dsn nor lookup means the embedded database, which embedded opens.
func Driver(embedded account.Open) account.Driver {
	return func(decode func(into any) error) (account.Open, error) {
		var s settings
		if err := decode(&s); err != nil {
			return nil, err
		}
		if s.isEmbedded() {
			return embedded, s.checkEmbedded()
		}
		p, err := newPlan(s)
		if err != nil {
			return nil, err
		}
		return p.open, nil
	}
}

func (s settings) isEmbedded() bool {
	return s.Driver == "sqlite" && s.DSN == "" && len(s.Lookup) == 0
}

func (s settings) checkEmbedded() error {
	for _, k := range []struct {
		key   string
		given bool
	}{{"hosts", len(s.Hosts) > 0}, {"ca", s.CA != ""}, {"list", len(s.List) > 0}, {"write", s.Write.given()}} {
		if k.given {
			return fmt.Errorf("%s: the embedded database has no such key; for another database add driver, dsn and lookup", k.key)
		}
	}
	return nil
}

// check says what is missing in the block of another database.
func (s settings) check() error {
	switch {
	case s.DSN == "":
		return errors.New("dsn (or dsn_file) is missing: where the database is, and as whom to log in to it")
	case len(s.Lookup) == 0:
		return errors.New("lookup is missing: the query for one account, such as SELECT password, host FROM users WHERE name = {user}")
	case s.Driver == "sqlite" && len(s.Hosts) > 0:
		return errors.New("hosts: SQLite is a file, it has no hosts")
	case s.Driver == "sqlite" && s.CA != "":
		return errors.New("ca: SQLite is a file, there is no way on which to encrypt")
	case s.Pool < 1:
		return errors.New("pool: there must be 1 connection at least")
	}
	return s.Write.check()
}

// A plan is a block that makes sense. Nothing is connected to yet.
type plan struct {
	settings
	dialect *dialect
	lookup  statement
	listing statement // "": there is none
	servers []server
}

// A server is one place where the database is.
type server struct {
	name    string
	connect driver.Connector
	patient driver.Connector // for what takes long, and for changes
}

func newPlan(s settings) (*plan, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	kinds := map[string]struct {
		dialect *dialect
		servers func(settings) ([]server, error)
	}{"postgres": {postgreSQL, postgresServers}, "mysql": {mySQL, mysqlServers}, "sqlite": {sqLite, sqliteServers}}
	p := &plan{settings: s, dialect: kinds[s.Driver].dialect}
	if err := p.compile(); err != nil {
		return nil, err
	}
	var err error
	p.servers, err = kinds[s.Driver].servers(s)
	if err == nil && len(p.servers) == 0 {
		err = errors.New("hosts is missing: no host is named, neither there nor in dsn")
	}
	return p, err
}

func (p *plan) compile() (err error) {
	if p.lookup, err = compile(p.dialect, p.Lookup); err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	if len(p.lookup.values) == 0 {
		return errors.New("lookup: it has no variable, so that everybody would be the same account; write {user} where the name belongs")
	}
	if p.listing, err = compile(p.dialect, p.List); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if len(p.listing.values) > 0 {
		return errors.New("list: it asks for all accounts, and can have no variable")
	}
	return nil
}
