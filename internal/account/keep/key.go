package keep

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keySize = 32      // bytes of randomness in a key that we make, and the least that a file may hold
	mostKey = 4 << 10 // more is no key, but a slip
)

// Key reads the key in a file: its text without white space at the ends, as
// "openssl rand -hex 32" writes it, or any other secret of 32 bytes or more.
func Key(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("everybody can read or write the key %s: chmod 600 it, or remove it and what was sealed with it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostKey+1))
	if err != nil {
		return nil, err
	}
	key := bytes.TrimSpace(text)
	if len(key) < keySize || len(text) > mostKey {
		return nil, fmt.Errorf("%s holds no key: that is a line of %d to %d bytes, such as openssl rand -hex 32 writes", path, keySize, mostKey)
	}
	return key, nil
}

// MakeKey is Key; a file that is missing is made, with a key that nobody knows.
func MakeKey(path string) ([]byte, error) {
	key, err := Key(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(path); err != nil {
		return nil, err
	}
	return Key(path) // it may be another one's, who was quicker
}

// makeKey gives a new key its name only when it is whole.
func makeKey(path string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // it never fails
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(hex.EncodeToString(secret) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
