package userdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// change replaces what stands in a file, as a whole or not at all: whoever reads it
// finds the old text or the new one, also after a power failure.
func change(ctx context.Context, path string, create bool, edit func(text string) (string, error)) error {
	path, err := target(path)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	old, info, err := current(path, create)
	if err != nil {
		return err
	}
	text, err := edit(old)
	if err != nil || info != nil && text == old {
		return err
	}
	return replace(path, text, info)
}

// current is what stands in the file. info is nil if there is none and one may be made.
func current(path string, create bool) (text string, info fs.FileInfo, err error) {
	switch info, err = os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist) && create:
		return "", nil, nil
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, fmt.Errorf("%s is not a file", path)
	}
	old, err := os.ReadFile(path)
	return string(old), info, err
}

// target follows symbolic links, which stay as they are.
func target(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if _, bad := os.Lstat(path); bad == nil {
		return "", fmt.Errorf("the symbolic link leads nowhere: %w", err)
	}
	return path, nil
}

// lockMost is how long others may have the file.
const lockMost = 30 * time.Second

// lock keeps others from changing the file: it has the same lock as Courier's userdb.
// It is a file of its own, since the file that is changed does not stay the same.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	name := beside(path, ".lock.")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockMost)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // which unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("another program has locked %s; nothing was changed: %w", name, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func beside(path, prefix string) string {
	folder, name := filepath.Split(path)
	return filepath.Join(folder, prefix+name)
}

// replace writes a new file with the owner and the mode of the old one, and puts it
// into its place. Who has the lock finds nobody else's there.
func replace(path, text string, old fs.FileInfo) (err error) {
	name := beside(path, ".tmp.")
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(name)
		}
	}()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := alike(f, old); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(name, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// alike gives a file the owner and mode of another. A new userdb is for its owner only.
func alike(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	was, is := old.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	if was.Uid != is.Uid || was.Gid != is.Gid {
		if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return fmt.Errorf("give the new file the owner of the old one: %w; run this as its owner or as root", err)
		}
	}
	return f.Chmod(old.Mode().Perm())
}

// syncFolder makes a new name last.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
