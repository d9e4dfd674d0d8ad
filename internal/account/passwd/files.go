package passwd

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"usher/internal/account"
	"usher/internal/account/file"
)

const (
	mostFiles   = 1000 // kept in memory: those that were asked last
	mostOpening = 8    // at once: each may wait for a disk
)

// files are the one file of a path, or those that a path with variables leads to,
// which are opened when somebody asks.
type files struct {
	path   account.Template
	format file.Format
	log    *slog.Logger
	fixed  *file.Lines // of a path without variables

	opening chan struct{}
	mu      sync.Mutex
	byPath  map[string]*list.Element
	order   *list.List // of *file.Lines, asked last first
	most    int
}

func newFiles(path account.Template, format file.Format, log *slog.Logger) *files {
	return &files{
		path: path, format: format, log: log, opening: make(chan struct{}, mostOpening),
		byPath: map[string]*list.Element{}, order: list.New(), most: mostFiles,
	}
}

// begin opens the one file. Of several none has to be there yet.
func (f *files) begin(ctx context.Context) (err error) {
	if isVariable := func(p account.Part) bool { return p.Variable != "" }; !slices.ContainsFunc(f.path, isVariable) {
		f.fixed, err = file.Open(ctx, f.path.Expand(account.Query{}, nil), f.format, f.log)
	}
	return err
}

// of returns the file that a query leads to. Where there is none, nobody is known.
func (f *files) of(ctx context.Context, q account.Query) (*file.Lines, error) {
	if f.fixed != nil {
		return f.fixed, nil
	}
	path, ok := f.expand(q)
	if !ok {
		return nil, account.ErrUnknown
	}
	if l := f.known(path); l != nil {
		return l, nil
	}
	l, err := f.open(ctx, path)
	if isNothing(err) {
		q.Trace.Asks("", "there is no file "+path)
		return nil, account.ErrUnknown
	}
	return l, err
}

// expand writes the path. It is ok if no value leads out of the folder that is meant,
// or to a hidden file.
func (f *files) expand(q account.Query) (path string, ok bool) {
	ok = true
	path = f.path.Expand(q, func(value string) string {
		ok = ok && value != "" && value[0] != '.' && !strings.ContainsAny(value, "/\x00")
		return value
	})
	return path, ok
}

// known finds a file that is open already.
func (f *files) known(path string) *file.Lines {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.byPath[path]
	if e == nil {
		return nil
	}
	f.order.MoveToFront(e)
	return e.Value.(*file.Lines)
}

// open opens a file and keeps it. The one that nobody has asked for longest goes.
func (f *files) open(ctx context.Context, path string) (*file.Lines, error) {
	l, err := f.read(ctx, path)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.byPath[path]; e != nil { // somebody else was faster
		return e.Value.(*file.Lines), nil
	}
	for _, note := range l.Notes() {
		f.log.Warn("account source", "note", note)
	}
	f.byPath[path] = f.order.PushFront(l)
	if f.order.Len() > f.most {
		last := f.order.Back()
		delete(f.byPath, f.order.Remove(last).(*file.Lines).Path())
	}
	return l, nil
}

// read reads a file. A disk that does not answer has no more than a few threads
// waiting.
func (f *files) read(ctx context.Context, path string) (*file.Lines, error) {
	select {
	case f.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: waiting for other files: %w", path, ctx.Err())
	}
	type result struct {
		lines *file.Lines
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-f.opening }()
		l, err := file.Open(context.WithoutCancel(ctx), path, f.format, f.log)
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.lines, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", path, ctx.Err())
	}
}

// isNothing tells whether there is no file, or none of a name like that.
func isNothing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, file.ErrNoFile) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// all are the files that are open.
func (f *files) all() (all []*file.Lines) {
	if f.fixed != nil {
		return []*file.Lines{f.fixed}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*file.Lines))
	}
	return all
}

func (f *files) notes() (notes []string) {
	for _, l := range f.all() {
		notes = append(notes, l.Notes()...)
	}
	return notes
}

// examine reports the files that are open, or the folder where they will be looked
// for.
func (f *files) examine(ctx context.Context, report func(string, error)) {
	for _, l := range f.all() {
		l.Examine(ctx, report)
	}
	if f.fixed == nil && len(f.path) > 0 && f.path[0].Variable == "" {
		folder := filepath.Dir(f.path[0].Text + "x")
		_, err := os.Stat(folder)
		report(folder, err)
	}
}

// Close closes all.
func (f *files) Close() error {
	var errs []error
	for _, l := range f.all() {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
