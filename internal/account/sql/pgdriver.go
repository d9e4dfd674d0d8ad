package sql

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
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

// https://www.postgresql.org/docs/15/errcodes-appendix.html
const indeterminateDatatype = "42P18"

var placeIn = regexp.MustCompile(`\$(\d+)`)

// learn notes which value of a query must be said to be a text, since functions such
// as concat() take everything. It reports whether that may help: asked was without it.
func (c *pgConnector) learn(query string, asked []uint32, err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != indeterminateDatatype {
		return false
	}
	found := placeIn.FindStringSubmatch(e.Message)
	if found == nil {
		return false
	}
	i, bad := strconv.Atoi(found[1])
	if bad != nil || i < 1 || i > len(asked) || asked[i-1] == textOID {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts == nil {
		c.texts = map[string][]uint32{}
	}
	types := make([]uint32, len(asked))
	copy(types, c.texts[query])
	types[i-1] = textOID
	c.texts[query] = types
	return true
}

// types are the types of a query's values, as far as they had to be learnt; 0: none.
func (c *pgConnector) types(query string, n int) []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	types := make([]uint32, n)
	copy(types, c.texts[query])
	return types
}

// The types that matter, by the numbers of PostgreSQL's pg_type.dat.
const (
	boolOID   = 16
	byteaOID  = 17
	textOID   = 25
	bpcharOID = 1042
)

type pgRows struct {
	*pgconn.ResultReader
	names []string
	types []uint32
}

func newPgRows(rr *pgconn.ResultReader) *pgRows {
	r := &pgRows{ResultReader: rr}
	for _, f := range rr.FieldDescriptions() {
		r.names = append(r.names, f.Name)
		r.types = append(r.types, f.DataTypeOID)
	}
	return r
}

// Columns implements driver.Rows.
func (r *pgRows) Columns() []string { return r.names }

// Close implements driver.Rows.
func (r *pgRows) Close() error {
	_, err := r.ResultReader.Close()
	return err
}

// Next implements driver.Rows.
func (r *pgRows) Next(dest []driver.Value) error {
	if !r.NextRow() {
		if err := r.Close(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, b := range r.Values() {
		if b == nil {
			dest[i] = nil
			continue
		}
		dest[i] = pgText(r.types[i], string(b))
	}
	return nil
}

// pgText is a value as people write it.
func pgText(oid uint32, s string) string {
	switch oid {
	case boolOID:
		return map[string]string{"t": "Y", "f": "N"}[s]
	case bpcharOID:
		return strings.TrimRight(s, " ")
	case byteaOID:
		if b, err := hex.DecodeString(strings.TrimPrefix(s, `\x`)); err == nil && strings.HasPrefix(s, `\x`) {
			return string(b)
		}
	}
	return s
}
