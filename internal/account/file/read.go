package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// mostBytes is how much can be kept of all files: what the index can point to.
const mostBytes = 1<<31 - 1

// A state is what was on the disk at one time.
type state struct {
	files   []one
	table   *table
	settled bool // no file is so new that it could have been changed since without a trace
}

// errChanging says that files were written while they were read.
var errChanging = errors.New("it is being written")

func isChanging(err error) bool { return errors.Is(err, errChanging) }

// read reads all files as a whole, or fails.
func (l *Lines) read() (*state, error) {
	began := time.Now()
	files, err := l.list()
	if err != nil {
		return nil, err
	}
	text, parts, err := readAll(files)
	if err != nil {
		return nil, err
	}
	again, err := l.list()
	if err != nil {
		return nil, err
	}
	if !same(files, again) {
		return nil, fmt.Errorf("read %s: %w", l.path, errChanging)
	}
	fresh := slices.ContainsFunc(files, func(f one) bool { return f.isFresh(began) })
	t := l.table.Load()
	if t == nil || t.text != text || !slices.Equal(t.parts, parts) {
		t = l.format.table(text, parts)
	}
	return &state{files: files, table: t, settled: !fresh}, nil
}

// readAll reads the files one behind the other.
func readAll(files []one) (text string, parts []part, err error) {
	var size int64
	for _, f := range files {
		size += f.info.Size() + int64(len("\n"))
	}
	if size > mostBytes {
		return "", nil, fmt.Errorf("read %s: with %d bytes there is more than the %d that can be kept", files[0].path, size, mostBytes)
	}
	var b strings.Builder
	b.Grow(int(size))
	for _, f := range files {
		parts = append(parts, part{f.path, f.info.Mode().Perm(), b.Len()})
		if err := readOne(&b, f); err != nil {
			return "", nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		if !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String(), parts, nil
}

// readOne adds a file. It is the one that was found, and as long, or else it is
// changing.
func readOne(b *strings.Builder, f one) error {
	r, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(b, io.LimitReader(r, f.info.Size()+1))
	if err != nil {
		return err
	}
	info, err := r.Stat()
	if err != nil {
		return err
	}
	if n != f.info.Size() || !f.same(one{f.path, info}) {
		return errChanging
	}
	return nil
}
