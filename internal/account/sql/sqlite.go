package sql

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// sqliteServers reads the dsn: the path of a file, or SQLite's file:/path?….
func sqliteServers(s settings) ([]server, error) {
	u := &url.URL{Scheme: "file", Path: s.DSN}
	if strings.HasPrefix(s.DSN, "file:") {
		var err error
		if u, err = url.Parse(s.DSN); err != nil {
			return nil, errors.New("dsn: it is not of the form file:/path?…")
		}
		u.Path, u.Opaque = u.Path+u.Opaque, ""
	}
	if !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("dsn: %q is relative to a folder that nobody knows when usher is started by the system; write the whole path", u.Path)
	}
	look, change := u.Query(), u.Query()
	look.Set("mode", "ro")
	change.Set("mode", "rw")
	if s.Write.given() {
		look.Set("mode", "rw") // a journal that was left by a crash can be read only by who may write
	}
	look.Set("_query_only", "1")
	change.Set("_txlock", "immediate") // a transaction that turns from reading to writing could not wait
	for _, q := range []url.Values{look, change} {
		if q.Get("_busy_timeout") == "" {
			q.Set("_busy_timeout", strconv.FormatInt(cmp.Or(s.Timeout, 10*time.Second).Milliseconds(), 10))
		}
	}
	one := server{name: u.Path}
	var err error
	if one.connect, err = fileConnector(u, look); err != nil {
		return nil, err
	}
	one.patient, err = fileConnector(u, change)
	return []server{one}, err
}

func fileConnector(u *url.URL, options url.Values) (driver.Connector, error) {
	with := *u
	with.RawQuery = options.Encode()
	c, err := sqlite.NewConnector(with.String())
	if err != nil {
		return nil, fmt.Errorf("dsn: %w", err)
	}
	return file{c, u.Path}, nil
}

// A file is the connector of a database that is a file.
type file struct {
	driver.Connector
	path string
}

// Connect opens the file as it is now.
func (f file) Connect(ctx context.Context) (driver.Conn, error) {
	info, err := os.Stat(f.path) // not opened: a close would drop the locks that SQLite has on it
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", f.path)
	}
	if err != nil {
		return nil, err
	}
	c, err := f.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return fileConn{c.(sqliteConn), f.path, info}, nil
}

// sqliteConn is what database/sql uses of the driver's connections.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type fileConn struct {
	sqliteConn
	path string
	file os.FileInfo
}

// ResetSession implements driver.SessionResetter. A connection is used again only
// while its file is the one that the path means: a database that somebody has put
// in its place is found at once, and one that is gone is not asked from memory.
func (c fileConn) ResetSession(ctx context.Context) error {
	if now, err := os.Stat(c.path); err != nil || !os.SameFile(now, c.file) {
		return driver.ErrBadConn
	}
	return c.sqliteConn.ResetSession(ctx)
}
