package account

import (
	"context"
	"errors"
	"slices"
	"strings"

	"usher/internal/password"
)

// Hashed is the Proof of an account whose source knows hashes of its password.
type Hashed struct {
	Hashes []string // "{SCHEME}hash" or crypt(3), as package password reads them; any of them will do
}

// Check implements Proof. A hash that cannot be read is "cannot tell", unless
// another one fits.
func (h Hashed) Check(_ context.Context, clear string) error {
	var errs []error
	for _, hash := range h.Hashes {
		switch ok, err := password.Verify(hash, clear); {
		case ok:
			return nil
		case err != nil:
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return ErrRefused
}

// Slow tells whether a check is made to take long.
func (h Hashed) Slow() bool { return slices.ContainsFunc(h.Hashes, password.Slow) }

// Identity implements Proof.
func (h Hashed) Identity() string { return strings.Join(h.Hashes, "\n") }

// shown is the Proof of an account whose source has found what a client showed
// right, and says nothing of other passwords. It knows the one by its digest.
type shown struct {
	secret *secret
	digest digest
}

func (s shown) Check(_ context.Context, clear string) error {
	if s.fits(clear) {
		return nil
	}
	return ErrRefused
}

func (s shown) fits(clear string) bool { return s.secret.digest(clear) == s.digest }

// Identity is another one for each password: one says nothing of another.
func (s shown) Identity() string { return string(s.digest[:]) }

// answered is the Proof of an account whose source has found this answer to a challenge
// right. No password fits.
type answered struct{ answer Answer }

func (answered) Check(context.Context, string) error { return ErrRefused }
func (answered) Identity() string                    { return "" }
