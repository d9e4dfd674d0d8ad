// Package file keeps text files at hand in which each line is somebody's: read as
// a whole, found by name, and read anew when they have changed. It is what the
// account sources userdb and passwd share, and knows the fields of neither.
//
// Read Lines.Find first. look.go decides when files are looked at again, list.go
// which files there are and whether they are the same as before, read.go what is a
// state of them that can be relied on, table.go how a name is found.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Lines are those of a file, or of all files in a folder and the folders in it.
// They are safe for concurrent use.
type Lines struct {
	path   string
	format Format
	log    *slog.Logger
	table  atomic.Pointer[table]

	mu     sync.Mutex
	under  *look     // the one under way; nil: none
	looked time.Time // when the last one ended

	seen watched // of the look under way only
}

// A Format says how files are read.
type Format struct {
	// Name is the name at the beginning of a line, which comes without its end; "" if
	// the line is nobody's, such as a comment. An error says what is wrong with the
	// line, without quoting it: there may be a password in it.
	Name func(line string) (string, error)
	// Private are permissions that no file should give, for there are passwords in it.
	Private fs.FileMode
	// Plain: the path is that of a file, and a folder is refused with ErrNoFile.
	Plain bool
}

// ErrNoFile says that a path does not lead to a file.
var ErrNoFile = errors.New("is not a file")

// Open reads a file or folder. It fails if that cannot be done; lines that are wrong
// are left out, and in Notes.
func Open(ctx context.Context, path string, format Format, log *slog.Logger) (*Lines, error) {
	l := &Lines{path: path, format: format, log: log}
	read := make(chan error, 1)
	go l.begin(ctx, read)
	select {
	case err := <-read:
		return l, err
	case <-ctx.Done(): // a disk that does not answer
		return nil, fmt.Errorf("read %s: %w", path, ctx.Err())
	}
}

// begin reads the files for the first time. One that is just being written is given
// two seconds.
func (l *Lines) begin(ctx context.Context, done chan<- error) {
	for left := 20; ; left-- {
		s, err := l.read()
		if err == nil {
			l.table.Store(s.table)
			l.seen, l.looked = watched{state: s}, time.Now()
		}
		if !isChanging(err) || left == 0 || ctx.Err() != nil {
			done <- err
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Find returns the first line with a name, and on how many there is one: 0, 1, or 2
// for more. A disk that does not answer cannot hold it up for longer than patience.
func (l *Lines) Find(ctx context.Context, name string) (line string, times int) {
	l.refresh(ctx)
	return l.table.Load().find(name)
}

// Path is what was opened.
func (l *Lines) Path() string { return l.path }

// Notes say what is wrong with the files as they are now: ten things at most, and how
// many more.
func (l *Lines) Notes() []string { return l.table.Load().notes.texts() }

// Examine implements account.Examiner: it reads the files as they are now. What is
// served stays as it is.
func (l *Lines) Examine(ctx context.Context, report func(what string, err error)) {
	done := make(chan error, 1)
	go func() {
		s, err := l.read()
		if err == nil {
			err = s.table.notes.err()
		}
		done <- err
	}()
	select {
	case err := <-done:
		report(l.path, err)
	case <-ctx.Done():
		report(l.path, fmt.Errorf("its disk does not answer: %w", ctx.Err()))
	}
}

// Close waits for a look that is under way, but not for a disk that does not answer.
func (l *Lines) Close() error {
	l.mu.Lock()
	under := l.under
	l.mu.Unlock()
	if under != nil {
		under.wait(context.Background())
	}
	return nil
}
