package sql

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"usher/internal/account"
)

// columns are the fields with a column of their own; user is the first. All
// others are kept in the column attrs.
var columns = []string{
	"user", "password", "nopassword", "host", "port", "destuser", "pass", "master", "ssl", "starttls",
	"proxy_mech", "proxy_timeout", "nologin", "reason", "code",
}

var columnList = strings.Join(columns, ", ") + ", attrs"

// maxUser is the longest name in bytes; an address has 254 at most (RFC 5321 §4.5.3.1.3).
const maxUser = 512

// readRow turns what Scan gives for columnList into fields.
func readRow(scan func(...any) error) (account.Fields, error) {
	cells := make([]sql.NullString, len(columns)+1)
	into := make([]any, len(cells))
	for i := range cells {
		into[i] = &cells[i]
	}
	if err := scan(into...); err != nil {
		return nil, err
	}
	f := account.Fields{}
	if attrs := cells[len(columns)].String; attrs != "" {
		if err := json.Unmarshal([]byte(attrs), &f); err != nil {
			return nil, fmt.Errorf("user %q: column attrs is not a JSON object of strings: %w", cells[0].String, err)
		}
	}
	for i, name := range columns {
		if cells[i].String != "" {
			f[name] = cells[i].String
		}
	}
	return f, nil
}

// writeRow turns fields into the values of columnList.
func writeRow(f account.Fields) ([]any, error) {
	values := make([]any, 0, len(columns)+1)
	rest := maps.Clone(f)
	for _, name := range columns {
		values = append(values, null(f[name]))
		delete(rest, name)
	}
	if len(rest) == 0 {
		return append(values, nil), nil
	}
	attrs, err := json.Marshal(rest)
	return append(values, string(attrs)), err
}

// lower folds ASCII only, as SQLite's NOCASE does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// clean gives fields their own names and refuses what could not be stored
// without loss. Empty values stay: they mean "remove this field".
func clean(in account.Fields) (account.Fields, error) {
	out := make(account.Fields, len(in))
	for _, given := range slices.Sorted(maps.Keys(in)) {
		name, value := account.FieldName(given), in[given]
		if !validField(name) {
			return nil, invalid("field %.40q: a name has small letters, digits and _ only", given)
		}
		if _, twice := out[name]; twice {
			return nil, invalid("field %q: given twice, the second time as %q", name, given)
		}
		if err := checkText(value); err != nil {
			return nil, invalid("field %q: %w", name, err)
		}
		out[name] = value
	}
	return out, nil
}

func validField(name string) bool {
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

// checkUser says why there can be no account of this name. SQLite compares text
// up to a NUL only, so that such a name must not even be asked for.
func checkUser(user string) error {
	switch {
	case user == "":
		return invalid("an account needs the field user")
	case len(user) > maxUser:
		return invalid("user %.40q…: a name has %d bytes at most", user, maxUser)
	case strings.TrimSpace(user) != user:
		return invalid("user %q: there is white space at an end of the name", user)
	}
	if err := checkText(user); err != nil {
		return invalid("user %q: %w", user, err)
	}
	return nil
}

// checkRow refuses a row of which no account can be made.
func checkRow(f account.Fields) error {
	user := f["user"]
	if err := checkUser(user); err != nil {
		return err
	}
	if _, err := f.Account(user); err != nil {
		return invalid("user %q: %w", user, err)
	}
	return nil
}
