package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// File is the name of the database in the state folder.
const File = "accounts.db"

// A Store is the account database of one state folder. It is safe for
// concurrent use, also by several processes.
type Store struct {
	path string
	made bool // by MakeStore, just now

	mu        sync.Mutex
	open      *handles      // the file as it is now; nil after Close
	reopening chan struct{} // closed when the one that opens the file anew is done; nil: nobody does
}

// OpenStore opens the database in the folder state, which must be there: an
// empty one in its place would make every account unknown.
func OpenStore(ctx context.Context, state string) (*Store, error) {
	s, err := newStore(state)
	if err != nil {
		return nil, err
	}
	return s, s.explain(s.start(ctx))
}

// MakeStore opens the database in the folder state. Both are created if they are
// missing.
func MakeStore(ctx context.Context, state string) (*Store, error) {
	s, err := newStore(state)
	if err != nil {
		return nil, err
	}
	if err := s.create(); err != nil {
		return nil, s.explain(err)
	}
	return s, s.explain(s.start(ctx))
}

func newStore(state string) (*Store, error) {
	path, err := filepath.Abs(filepath.Join(state, File))
	if err != nil {
		return nil, fmt.Errorf("open the account database in %q: %w", state, err)
	}
	return &Store{path: path}, nil
}

func (s *Store) start(ctx context.Context) (err error) {
	if _, err := os.Stat(s.path); err != nil {
		return err
	}
	if err := migrate(ctx, s.path); err != nil {
		return err
	}
	s.open, err = openHandles(ctx, s.path)
	return err
}

// Notes says what an administrator should know of a database that was opened.
func (s *Store) Notes() []string {
	if !s.made {
		return nil
	}
	return []string{s.path + " was not there and has been made: nobody can log in until accounts are added (usher account add)"}
}

// create makes the folder and an empty file that nobody else may read: there
// are password hashes in it.
func (s *Store) create() error {
	folder := filepath.Dir(s.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.made = true
	return errors.Join(giveToOwner(f, folder), f.Close())
}

// Close closes the database once the look-ups that are under way have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.open
	s.open = nil
	if old == nil {
		return nil
	}
	return old.retire()
}

var (
	errClosed    = errors.New("the account database has been closed")
	errReopening = errors.New("the file was replaced or damaged, and is being opened again")
	errEmpty     = errors.New("the file is empty; put a backup in its place")
)

// use runs f with the file as it is now. It notices when the file has been
// replaced, or was found damaged before: then it is opened again. A file that
// is missing is never created here, since every account would seem unknown.
func (s *Store) use(ctx context.Context, f func(*handles) error) error {
	h, err := s.acquire(ctx)
	if err != nil {
		return s.explain(err)
	}
	err = f(h)
	if damaged(err) {
		h.suspect.Store(true)
	}
	return s.explain(errors.Join(err, s.release(h)))
}

func (s *Store) acquire(ctx context.Context) (*handles, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for until := time.Now().Add(patience); time.Now().Before(until); {
		info, err := os.Stat(s.path)
		switch {
		case s.open == nil:
			return nil, errClosed
		case err != nil:
			return nil, err
		case os.SameFile(info, s.open.file) && !s.open.suspect.Load():
			s.open.users++
			return s.open, nil
		}
		if err := s.reopen(ctx, info); err != nil {
			return nil, err
		}
	}
	return nil, errReopening
}

// reopen replaces the handles. One caller does it, without the lock; the others
// wait for it as long as they can. When it fails, the old handles stay marked,
// and the next look-up tries again.
func (s *Store) reopen(ctx context.Context, now os.FileInfo) error {
	if s.reopening != nil {
		return s.waitForReopen(ctx)
	}
	if now.Size() == 0 {
		return errEmpty // to make tables in it would make every account unknown
	}
	s.open.suspect.Store(true)
	_ = s.open.retire() // first: SQLite shares a file's journal among all that have it open
	done := make(chan struct{})
	s.reopening = done
	s.mu.Unlock()
	h, err := reopened(ctx, s.path)
	s.mu.Lock()
	s.reopening = nil
	close(done)
	switch {
	case err != nil:
		return err
	case s.open == nil: // closed meanwhile
		return h.close()
	}
	s.open = h
	return nil
}

func reopened(ctx context.Context, path string) (*handles, error) {
	if err := migrate(ctx, path); err != nil {
		return nil, err
	}
	return openHandles(ctx, path)
}

// patience is how long a look-up waits for another one that opens the file.
const patience = 2 * time.Second

// waitForReopen gives the lock away and waits.
func (s *Store) waitForReopen(ctx context.Context) error {
	done := s.reopening
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
	}
	return nil
}

func (s *Store) release(h *handles) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.users--
	return h.closeIfUnused()
}
