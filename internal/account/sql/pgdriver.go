package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// pgConnector opens connections to a PostgreSQL server for database/sql. There is a
// driver of pgx for that too, but it prepares statements and gives values the types
// that it finds: behind a PgBouncer, or after a change of a table, statements are gone
// or stale. Here all goes in one round trip, values as text of no type, so that a
// query means what it would mean with quoted texts in their place.
type pgConnector struct {
	cfg    *pgconn.Config
	within time.Duration // that a connection must be made; 0: no limit

	mu    sync.Mutex
	texts map[string][]uint32 // by query: the types of its values, where the server cannot tell
}

// Connect implements driver.Connector.
func (c *pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.within) // finding the address is not in ConnectTimeout
		defer cancel()
	}
	pc, err := pgconn.ConnectConfig(ctx, c.cfg)
	if err != nil {
		return nil, err
	}
	return &pgConn{pc, c}, nil
}

// Driver implements driver.Connector; nobody asks for it.
func (c *pgConnector) Driver() driver.Driver { return nil }

type pgConn struct {
	*pgconn.PgConn
	connector *pgConnector
}

// farewell is how long a server may take to hear that we leave.
const farewell = 200 * time.Millisecond

// Close implements driver.Conn.
func (c *pgConn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return c.PgConn.Close(ctx)
}

// IsValid implements driver.Validator.
func (c *pgConn) IsValid() bool { return !c.IsClosed() }

// Prepare implements driver.Conn.
func (c *pgConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("statements are not prepared")
}

// Begin implements driver.Conn.
func (c *pgConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx implements driver.ConnBeginTx.
func (c *pgConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	_, err := c.ExecContext(ctx, "BEGIN", nil)
	return pgTx{c}, err
}

type pgTx struct{ *pgConn }

// Commit implements driver.Tx.
func (t pgTx) Commit() error { return t.end("COMMIT") }

// Rollback implements driver.Tx.
func (t pgTx) Rollback() error { return t.end("ROLLBACK") }

func (t pgTx) end(command string) error {
	ctx := context.Background()
	if t.connector.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.connector.within)
		defer cancel()
	}
	tag, err := t.ExecParams(ctx, command, nil, nil, nil, nil).Close()
	if err == nil && tag.String() != command {
		return fmt.Errorf("%s was answered with %.20q", command, tag.String())
	}
	return err
}

// ExecContext implements driver.ExecerContext.
func (c *pgConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.ExecParams(ctx, query, pgValues(args), nil, nil, nil).Close()
	if err != nil {
		return nil, c.dead(ctx, err)
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// QueryContext implements driver.QueryerContext.
func (c *pgConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	for range len(args) + 1 {
		types := c.connector.types(query, len(args))
		rr := c.ExecParams(ctx, query, pgValues(args), types, nil, nil)
		if rr.FieldDescriptions() != nil {
			return newPgRows(rr), nil
		}
		_, err := rr.Close()
		if err == nil {
			return newPgRows(rr), nil
		}
		if !c.connector.learn(query, types, err) || c.TxStatus() != 'I' {
			return nil, c.dead(ctx, err)
		}
	}
	return nil, errors.New("the server wants ever other types of values")
}

// dead tells database/sql that another connection may have more luck.
func (c *pgConn) dead(ctx context.Context, err error) error {
	if c.IsClosed() && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", driver.ErrBadConn, err)
	}
	return err
}

func pgValues(args []driver.NamedValue) [][]byte {
	values := make([][]byte, len(args))
	for i, a := range args {
		if s, ok := a.Value.(string); ok {
			values[i] = []byte(s)
		}
	}
	return values
}
