package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"usher/internal/account"
)

// callers is an error of the function that a caller has passed in. It says
// already what went wrong, and it was not the database.
type callers struct{ error }

func asCallers(err error) error {
	if err == nil {
		return nil
	}
	return callers{err}
}

// code gives SQLite's primary result code, or lib.SQLITE_OK if err is not its.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return lib.SQLITE_OK
	}
	return e.Code() & 0xff // the rest tells more exactly where
}

// damaged reports whether the open file can no longer be trusted.
func damaged(err error) bool {
	switch code(err) {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_PROTOCOL, lib.SQLITE_ERROR, lib.SQLITE_SCHEMA:
		return true
	}
	return false
}

// explain names the source and says what to do. The answers "no such account",
// "exists already" and "cannot be stored like this" are not about the source.
func (s *Store) explain(err error) error {
	var bad account.Invalid
	var theirs callers
	switch {
	case err == nil:
		return nil
	case errors.As(err, &theirs):
		return theirs.error
	case errors.Is(err, account.ErrUnknown), errors.Is(err, account.ErrExists), errors.As(err, &bad):
		return err
	}
	if todo := advice(err); todo != "" {
		return fmt.Errorf("account source \"sqlite\" (%s): %w; %s", s.path, err, todo)
	}
	return fmt.Errorf("account source \"sqlite\" (%s): %w", s.path, err)
}

// advice is what to do about an error of the database as a whole.
func advice(err error) string {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.Is(err, fs.ErrNotExist):
		return "put it back: it is used again at once (the first usher serve or usher account add makes one)"
	case errors.Is(err, fs.ErrPermission):
		return "check the owner and mode of the file and its folder"
	}
	switch code(err) {
	case lib.SQLITE_FULL:
		return "the disk is full: make room, nothing was changed"
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return "another process is writing for more than 10 seconds: wait for it or end it, then try again"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_PROTOCOL:
		return "the file is damaged: put a backup in its place after removing accounts.db-wal and accounts.db-shm"
	case lib.SQLITE_CANTOPEN, lib.SQLITE_PERM, lib.SQLITE_READONLY, lib.SQLITE_AUTH:
		return "check the owner and mode of the file and its folder"
	case lib.SQLITE_IOERR:
		return "the disk cannot be read or written: look at the system's log"
	case lib.SQLITE_ERROR, lib.SQLITE_SCHEMA:
		return "its tables are not those that usher makes: put a backup in its place"
	}
	return ""
}
