package account

import (
	"context"
	"errors"
	"io"
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

// Anyone knows every name and proves none: for proxies whose backends check.
type Anyone struct{}

// AnyoneDriver is the Driver of Anyone; its block has no keys.
func AnyoneDriver(decode func(into any) error) (Open, error) {
	return func(context.Context, string) (Directory, error) { return Anyone{}, nil }, decode(&struct{}{})
}

// Lookup implements Directory.
func (Anyone) Lookup(_ context.Context, q Query) (*Account, error) {
	return &Account{Name: q.Name}, nil
}

// Only asks a directory about the names of some domains, and knows no others.
// The domain "" stands for names without one.
type Only struct {
	Directory
	Domains []string
}

// Lookup implements Directory.
func (o Only) Lookup(ctx context.Context, q Query) (*Account, error) {
	_, domain, _ := strings.Cut(q.Name, "@")
	for _, d := range o.Domains {
		if strings.EqualFold(d, domain) {
			return o.Directory.Lookup(ctx, q)
		}
	}
	return nil, ErrUnknown
}
