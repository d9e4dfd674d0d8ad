package sql

import (
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

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
