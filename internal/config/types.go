package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A Duration is text such as "5s" or "1h30m". "0s" switches a delay or timeout
// off.
type Duration time.Duration

// UnmarshalText reads what MarshalText writes, and every other form of
// time.ParseDuration that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%.80q is not a duration", text)
	}
	if t < 0 {
		return errors.New("a duration cannot be negative")
	}
	*d = Duration(t)
	return nil
}

// MarshalText writes "35m", not "35m0s" as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// A Path is the name of a file. Relative ones in a usher.toml are relative to
// its folder; in a Config all are absolute, but for "", which is none.
type Path string

// A Secret does not show itself in logs, nor in Effective.
type Secret string

const hidden = "***"

// String hides the secret. An empty one has nothing to hide, and has to be
// told from a set one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret from %#v too.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// DefaultBackend is a backend of which nothing is said.
func DefaultBackend() Backend {
	var b Backend
	d := decoder{doc: &document{}}
	d.table(reflect.ValueOf(&b).Elem(), map[string]any{}, "")
	return b
}
