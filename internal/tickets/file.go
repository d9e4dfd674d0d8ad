package tickets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// most is far more than the keys of a week take.
const most = 64 << 10

// errExposed is about a file that others could read or have written.
var errExposed = errors.New("others could read it")

// patience is how long another process may hold the lock. It takes milliseconds;
// one that was stopped in between shall not keep us from starting.
const patience = 5 * time.Second

// lock locks the folder of the keys: the file is replaced while others wait, and
// a lock file would be one more thing that can belong to the wrong user. It ends
// with the process.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
		case time.Now().After(end):
			_ = f.Close()
			return nil, fmt.Errorf("cannot lock %s: another process holds it (see: lslocks)", dir)
		}
	}
}

// read returns the keys in a file, newest first; none if there is no file. The
// error says why the file has to be replaced.
func read(file string) ([]key, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("session ticket keys cannot be read, so they are made anew: %w", err)
	}
	defer func() { _ = f.Close() }()
	keys, err := load(f)
	if err != nil {
		return nil, fmt.Errorf("session ticket keys in %s cannot be used, so they are made anew: %w", file, err)
	}
	return keys, nil
}

func load(f *os.File) ([]key, error) {
	if err := private(f); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, err
	}
	var keys []key
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, errors.New("it is damaged") // the JSON error may quote what is in it
	}
	for _, k := range keys {
		if len(k.Secret) != secretSize {
			return nil, errors.New("it is damaged: a key has the wrong size")
		}
	}
	return join(keys, nil), nil
}

// private tells whether nobody but us can have read or written a file.
func private(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is not a file")
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: its mode was %#o", errExposed, info.Mode().Perm())
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: it belonged to user %d, we are %d", errExposed, st.Uid, os.Geteuid())
	}
	return nil
}

// write replaces a file: others see the old keys or the new ones, whole, also
// after a power cut.
func write(file string, keys []key) error {
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	next := file + ".new" // one name is enough, since we hold the lock
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(next, slices.Concat(text, []byte("\n"))); err != nil {
		_ = os.Remove(next)
		return err
	}
	if err := os.Rename(next, file); err != nil {
		_ = os.Remove(next)
		return err
	}
	return syncFolder(filepath.Dir(file))
}

func create(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder makes the new name last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
