package account

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Store is a Source whose accounts can be looked through and changed, as
// "usher account" does. Names of fields may be aliases. A change is made as a whole
// or not at all.
//
// Beside ErrUnknown its methods return ErrExists, ErrChanged and Invalid, which are
// answers; any other error means that the store could not be asked.
type Store interface {
	Source
	Close() error
	// Get returns what the source says of one account.
	Get(ctx context.Context, user string) (Fields, error)
	// List gives the accounts whose user matches glob (* ? […], in any case of
	// letters; "" for all), one by one: there may be millions.
	List(ctx context.Context, glob string) iter.Seq2[Fields, error]
	// Export calls f with the names of all fields that are in use, user first, and
	// with all accounts, one by one.
	Export(ctx context.Context, f func(fields []string, rows iter.Seq2[Fields, error]) error) error
	Add(ctx context.Context, f Fields) error
	// Set changes some fields; the value "" removes one. What is not named stays.
	Set(ctx context.Context, user string, changes Fields) error
	Remove(ctx context.Context, users ...string) error
	// Import adds many accounts and returns how many. The error names the line of
	// the first bad row. progress, if not nil, is called with the number of rows done.
	Import(ctx context.Context, rows iter.Seq2[Row, error], existing Existing, progress func(int)) (int, error)
}

var (
	// ErrExists says that there is an account of that name already.
	ErrExists = errors.New("the account exists already")
	// ErrChanged says that somebody else has changed the account since it was read;
	// that change stands.
	ErrChanged = errors.New("somebody else has changed the account meanwhile; look at it, and try again")
)

// A Row is one account of a file.
type Row struct {
	Line   int
	Fields Fields
}

// Existing says what an import does with accounts that are there already.
type Existing int

// Refuse is the zero value: nothing is overwritten unless somebody asks for it.
const (
	Refuse Existing = iota // the import fails
	Update                 // the fields named in the row are set, the others stay
)

// Invalid is the error of what cannot be done as it was asked for, such as a row that
// must not be stored.
type Invalid struct{ error }

// Unwrap gives the fault.
func (i Invalid) Unwrap() error { return i.error }

// Invalidf makes an Invalid.
func Invalidf(format string, args ...any) error { return Invalid{fmt.Errorf(format, args...)} }

// Clean gives fields their own names and refuses what could not be stored without
// loss. Empty values stay: they mean "remove this field".
func Clean(in Fields) (Fields, error) {
	out := make(Fields, len(in))
	for _, given := range slices.Sorted(maps.Keys(in)) {
		name, value := FieldName(given), in[given]
		if !storable(name) {
			return nil, Invalidf("field %.40q: a name has small letters, digits and _ only", given)
		}
		if _, twice := out[name]; twice {
			return nil, Invalidf("field %q: given twice, the second time as %q", name, given)
		}
		if err := checkText(value); err != nil {
			return nil, Invalidf("field %q: %w", name, err)
		}
		out[name] = value
	}
	return out, nil
}

func storable(name string) bool {
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// checkText refuses what no protocol can carry; it does not quote a value, which may be a secret.
func checkText(value string) error {
	switch {
	case !utf8.ValidString(value):
		return errors.New("its value is not valid UTF-8")
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("there are control characters in its value, such as a line end or a tab")
	}
	return nil
}

// CheckName says why there can be no account of this name.
func CheckName(user string) error {
	switch {
	case user == "":
		return Invalidf("an account needs the field user")
	case len(user) > MaxName:
		return Invalidf("user %.40q…: a name has %d bytes at most", user, MaxName)
	case strings.TrimSpace(user) != user:
		return Invalidf("user %q: there is white space at an end of the name", user)
	}
	if err := checkText(user); err != nil {
		return Invalidf("user %q: %w", user, err)
	}
	return nil
}

// CheckRow says why no account can be made of a row.
func CheckRow(f Fields) error {
	user := f["user"]
	if err := CheckName(user); err != nil {
		return err
	}
	if _, err := f.Account(user); err != nil {
		return Invalidf("user %q: %w", user, err)
	}
	return nil
}
