package embedded

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"usher/internal/account"
)

// columns are the fields with a column of their own; user is the first. All
// others are kept in the column attrs.
var columns = []string{
	"user", "password", "nopassword", "host", "port", "destuser", "pass", "master", "ssl", "starttls",
	"proxy_mech", "proxy_timeout", "nologin", "reason", "code",
}

var columnList = strings.Join(columns, ", ") + ", attrs"

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
