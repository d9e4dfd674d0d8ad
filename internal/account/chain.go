package account

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
)

// A Chain asks several directories in turn. ErrUnknown goes on to the next, any
// other error stops: whom the silent one knows, the others must not replace.
type Chain []Directory

// Lookup implements Directory.
func (c Chain) Lookup(ctx context.Context, q Query) (*Account, error) {
	for _, d := range c {
		a, err := d.Lookup(ctx, q)
		if !errors.Is(err, ErrUnknown) {
			return a, err
		}
	}
	return nil, ErrUnknown
}

// Close closes those directories that hold something open.
func (c Chain) Close() error {
	var errs []error
	for _, d := range c {
		if closer, ok := d.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	return errors.Join(errs...)
}

// Anyone is a Source that knows every name and proves none: for proxies whose
// backends check.
type Anyone struct{}

// AnyoneDriver is the Driver of Anyone; its block has no keys.
func AnyoneDriver(decode func(into any) error) (Open, error) {
	return func(context.Context, Site) (Source, error) { return Anyone{}, nil }, decode(&struct{}{})
}

// Ask implements Source.
func (Anyone) Ask(context.Context, Query) (Record, error) { return Record{}, nil }

// Nearby is for Source: there is nothing to remember.
func (Anyone) Nearby() bool { return true }

// Some asks a directory about the names of some domains, and knows no others. The
// domain "" stands for names without one. They match in any case.
type Some struct {
	Directory
	Name string   // of the source
	Only []string // none: all
	Skip []string // but not these
}

// Lookup implements Directory.
func (s Some) Lookup(ctx context.Context, q Query) (*Account, error) {
	_, domain, _ := strings.Cut(q.Name, "@")
	has := func(d string) bool { return strings.EqualFold(d, domain) }
	switch {
	case len(s.Only) > 0 && !slices.ContainsFunc(s.Only, has):
		q.Trace.step(Step{Source: s.Name, Skipped: "its key only does not have this domain"})
	case slices.ContainsFunc(s.Skip, has):
		q.Trace.step(Step{Source: s.Name, Skipped: "its key skip has this domain"})
	default:
		return s.Directory.Lookup(ctx, q)
	}
	return nil, ErrUnknown
}

// Close closes the directory.
func (s Some) Close() error {
	if c, ok := s.Directory.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
