// Package keep holds what must outlive the process and is nobody else's business:
// a sealed file can be read only with its key, and only as it was written, whole.
//
// Read Write and Read first; seal.go says how a file is sealed, key.go where keys
// come from.
package keep

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrUnreadable says that a file is not what was written with this key: it is
// damaged, cut off, or sealed with another one.
var ErrUnreadable = errors.New("it is damaged, or was sealed with another key")

// Write seals what fill writes into a file that takes the place of the one at path:
// whoever reads finds the old one or the new one, whole, also after a power cut.
// One at a time may write to a path.
func Write(path string, key []byte, fill func(io.Writer) error) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(next, key, fill); err != nil {
		_ = os.Remove(next) // a full disk shall not stay full of it
		return err
	}
	if err := os.Rename(next, path); err != nil {
		_ = os.Remove(next)
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func create(path string, key []byte, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(sealInto(f, key, fill), f.Sync(), f.Close())
}

func sealInto(f io.Writer, key []byte, fill func(io.Writer) error) error {
	s, err := newSealer(f, key)
	if err != nil {
		return err
	}
	if err := fill(s); err != nil {
		return err
	}
	return s.finish()
}

// Read opens the file at path and gives use what was written. What use has read
// is not to be trusted before Read has returned nil: only then the file was whole.
// The error is ErrUnreadable if it was not, or wraps fs.ErrNotExist.
func Read(path string, key []byte, use func(io.Reader) error) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // no pipe shall hold us up
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return open(f, key, use)
}

func open(f io.Reader, key []byte, use func(io.Reader) error) error {
	o, err := newOpener(bufio.NewReaderSize(f, chunk), key)
	if err != nil {
		return err
	}
	if err := use(o); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, o)
	return err
}

// syncFolder makes the new name last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
