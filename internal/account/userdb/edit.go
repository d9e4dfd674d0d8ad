package userdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"usher/internal/account"
	"usher/internal/account/file"
)

// A Field is a field of a record as it is written.
type Field struct{ Name, Value string }

// Set gives fields of a user new values, in one file. It adds the user, and the file,
// if need be. All that stands beside stays byte for byte, and whoever changes the file
// at the same time, also with Courier's command, loses nothing.
func Set(ctx context.Context, path, user string, fields ...Field) error {
	if err := checkUser(user); err != nil {
		return err
	}
	if err := checkFields(fields); err != nil {
		return err
	}
	return change(ctx, path, true, func(text string) (string, error) { return set(text, user, fields) })
}

// Unset removes fields of a user. Those that are not there are nothing to speak of.
func Unset(ctx context.Context, path, user string, names ...string) error {
	return change(ctx, path, false, func(text string) (string, error) { return unset(text, user, names) })
}

// Delete removes a user.
func Delete(ctx context.Context, path, user string) error {
	return change(ctx, path, false, func(text string) (string, error) { return del(text, user) })
}

// Show returns the fields of a user in their order.
func Show(path, user string) (fields []Field, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	at, err := only(string(text), user)
	if err != nil {
		return nil, err
	}
	for _, f := range parse(at.line).fields {
		if f.name != "" {
			fields = append(fields, Field{f.name, f.value})
		}
	}
	return fields, nil
}

// Invalid says that something cannot be written into a userdb.
type Invalid struct{ error }

// ErrTwice says that a file does not tell which record of a user is meant.
var ErrTwice = errors.New("the user stands on more than one line")

func checkUser(user string) error {
	switch err := file.CheckName(user); {
	case err != nil:
		return Invalid{fmt.Errorf("the user cannot be written: %w", err)}
	case strings.ContainsAny(user, "|") || user[0] == '#':
		return Invalid{fmt.Errorf("the user %q cannot be written: no | can be in a name, and no # at its beginning", user)}
	}
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// CheckField says why a name cannot be that of a field.
func CheckField(name string) error {
	if name == "" || !strings.Contains(letters, name[:1]) || strings.Trim(name, letters+"0123456789_-.") != "" {
		return Invalid{fmt.Errorf("%.40q is no name of a field, such as options or imappw", name)}
	}
	return nil
}

func checkFields(fields []Field) error {
	for _, f := range fields {
		if err := CheckField(f.Name); err != nil {
			return err
		}
		if strings.Contains(f.Value, "|") || strings.ContainsFunc(f.Value, isControl) {
			return Invalid{fmt.Errorf("field %q: no | and no control character can be in a value", f.Name)}
		}
	}
	return nil
}

// A place is where a line is in a text.
type place struct {
	start, end int    // with the end of the line
	line       string // without
	number     int
}

// with puts another line there, with the same end.
func (p place) with(text, line string) string {
	return text[:p.start] + line + text[p.start+len(p.line):]
}

// find returns the lines of a user.
func find(text, user string) (found []place) {
	at, number := 0, 0
	for raw := range strings.Lines(text) {
		p := place{start: at, end: at + len(raw), number: number + 1}
		p.line = strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
		at, number = p.end, p.number
		if name, _, _ := strings.Cut(p.line, "\t"); name == user && name != "" && name[0] != '#' {
			found = append(found, p)
		}
	}
	return found
}

// only returns the one line of a user.
func only(text, user string) (place, error) {
	switch found := find(text, user); len(found) {
	case 0:
		return place{}, account.ErrUnknown
	case 1:
		return found[0], nil
	default:
		return place{}, fmt.Errorf("%w: %d and %d; remove one of them", ErrTwice, found[0].number, found[1].number)
	}
}

func set(text, user string, fields []Field) (string, error) {
	at, err := only(text, user)
	r := record{name: user}
	switch {
	case errors.Is(err, account.ErrUnknown):
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		at = place{start: len(text), end: len(text)}
	case err != nil:
		return "", err
	default:
		r = parse(at.line)
	}
	for _, f := range fields {
		r.set(f)
	}
	line := r.line()
	if len(line) > file.MaxLine {
		return "", Invalid{fmt.Errorf("the record would have more than %d bytes", file.MaxLine)}
	}
	if at.end == len(text) && !strings.HasSuffix(text[at.start:], "\n") {
		text += "\n"
	}
	return at.with(text, line), nil
}

// set gives a field a value in the place of the first that has its name, or at the end.
func (r *record) set(f Field) {
	i := slices.IndexFunc(r.fields, func(old field) bool { return old.name == f.Name })
	if i < 0 {
		r.fields = append(r.fields, field{f.Name, f.Value, true})
		return
	}
	r.fields[i] = field{f.Name, f.Value, true}
	rest := slices.DeleteFunc(r.fields[i+1:], func(old field) bool { return old.name == f.Name })
	r.fields = r.fields[:i+1+len(rest)]
}

func unset(text, user string, names []string) (string, error) {
	at, err := only(text, user)
	if err != nil {
		return "", err
	}
	r := parse(at.line)
	had := len(r.fields)
	r.fields = slices.DeleteFunc(r.fields, func(f field) bool { return slices.Contains(names, f.name) })
	if len(r.fields) == had {
		return text, nil
	}
	return at.with(text, r.line()), nil
}

// del removes every line of a user, or the second would come to light.
func del(text, user string) (string, error) {
	found := find(text, user)
	if len(found) == 0 {
		return "", account.ErrUnknown
	}
	for _, p := range slices.Backward(found) {
		text = text[:p.start] + text[p.end:]
	}
	return text, nil
}
