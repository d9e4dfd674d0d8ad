package embedded

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// readers is how many look-ups read the file at once.
const readers = 8

// handles are the open ends of one database file. Its Store counts who uses
// them, under its lock.
type handles struct {
	file    os.FileInfo // tells whether the path still means this file
	write   *sql.DB     // one connection: SQLite has one writer anyway, and so they wait in line
	read    *sql.DB
	lookup  *sql.Stmt
	turns   chan struct{} // taken by look-ups under way
	memory  memory
	suspect atomic.Bool // found damaged: open it again, somebody may have put it right

	users   int
	retired bool
}

func openHandles(ctx context.Context, path string) (_ *handles, err error) {
	h := &handles{turns: make(chan struct{}, readers), memory: memory{path: path}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if h.file, err = os.Stat(path); err != nil {
		return nil, err
	}
	if h.write, err = connect(path, 1); err != nil {
		return nil, err
	}
	if h.read, err = connect(path, readers, "query_only(1)", "cache_size(-256)"); err != nil {
		return nil, err
	}
	h.lookup, err = h.read.PrepareContext(ctx, "SELECT "+columnList+" FROM accounts WHERE user = ?")
	return h, err
}

// connect opens path as it is; mode=rw does not create it.
func connect(path string, limit int, pragmas ...string) (*sql.DB, error) {
	// busy_timeout: how long to wait for another process that writes.
	// synchronous(FULL): what a command has reported as done outlives a power cut.
	options := url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"}, // a transaction that turns from reading to writing could not wait
		"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"}, pragmas...),
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(limit)
	db.SetMaxIdleConns(limit)
	return db, nil
}

func (h *handles) retire() error {
	h.retired = true
	return h.closeIfUnused()
}

func (h *handles) closeIfUnused() error {
	if !h.retired || h.users > 0 {
		return nil
	}
	return h.close()
}

func (h *handles) close() error {
	var errs []error
	if h.lookup != nil {
		errs = append(errs, h.lookup.Close())
	}
	for _, db := range []*sql.DB{h.read, h.write} { // the writer last: it empties the journal
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}
