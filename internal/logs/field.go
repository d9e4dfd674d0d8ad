package logs

import (
	"encoding"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// A field is an attribute outside of the line: its key, behind those of its groups
// with dots between, and its value as the line has it, but not quoted.
type field struct{ key, value string }

// appendFields adds an attribute, those in it if it is a group, and none if it is
// empty.
func appendFields(fields []field, prefix string, a slog.Attr) []field {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return fields
	}
	if a.Value.Kind() != slog.KindGroup {
		return append(fields, field{prefix + a.Key, textOf(a.Value)})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, inner := range a.Value.Group() {
		fields = appendFields(fields, prefix, inner)
	}
	return fields
}

func textOf(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format("2006-01-02T15:04:05.000Z07:00")
	case slog.KindAny:
		return textOfAny(v.Any())
	}
	return v.String()
}

func textOfAny(v any) string {
	switch v := v.(type) {
	case error:
		return v.Error()
	case []byte:
		return string(v)
	case encoding.TextMarshaler:
		if text, err := v.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprintf("%+v", v)
}

// precise is how times are written: RFC 5424 §6.2.3 has no more than microseconds.
const precise = "2006-01-02T15:04:05.000000Z07:00"

// severity is that of RFC 5424 §6.2.1, which the journal has, too.
func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// ascii keeps what is printable, without blanks and what else has a meaning in a
// header or name of syslog, and at most so many characters; "-" is nothing.
func ascii(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`="]`, r) {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// cut shortens a text to so many bytes, of whole characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:max(most, 0)]
}

// timeOf is when an entry was made; "" if nobody knows.
func timeOf(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(layout)
}
