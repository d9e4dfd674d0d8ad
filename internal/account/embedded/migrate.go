package embedded

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables of the database to the form that this usher knows.
// A database of a newer one is refused: it may say things about accounts that
// this one would read over.
func migrate(ctx context.Context, path string) (err error) {
	unlock, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	db, err := connect(path, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	return up(ctx, p)
}

func up(ctx context.Context, p *goose.Provider) error {
	have, know, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case have > know:
		return fmt.Errorf("it was made by a newer usher (its form is %d, this one knows %d); upgrade this usher, or use another state folder", have, know)
	}
	_, err = p.Up(ctx)
	return err
}

// lock makes processes that start at the same time migrate one after the other.
// It locks a file of its own: closing the database file would drop the locks
// that SQLite holds on it.
func lock(ctx context.Context, path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := giveToOwner(f, filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := flock(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f.Close, nil // closing unlocks
}

// flock waits for the lock until ctx ends, for 10 seconds at most.
func flock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("another process holds it")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// giveToOwner gives a new file to the owner of its folder if root has made it.
// An administrator calls "usher account" as root, but the server is not root.
func giveToOwner(f *os.File, folder string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
