package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// What mistakes have in common in their words.
const (
	textRemedy     = `write it in quotes: "…"`
	durationRemedy = `write it in quotes, with a unit: "30s", "5m", "1h30m"`
)

func (d *decoder) mistype(key string, got any, want, remedy string) {
	d.wrong(key, fmt.Sprintf("%s, not %s", describe(got), want), remedy)
}

// describe names a value's type as users know it. It does not show the value,
// which may be a secret.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return "text"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a point"
	case map[string]any:
		return "a table"
	case []any:
		if len(v) > 0 {
			if _, ok := v[0].(map[string]any); ok {
				return "a list of tables"
			}
		}
		return "a list"
	default:
		return "a date or time"
	}
}

func tableRemedy(key string) string {
	return fmt.Sprintf("write it as [%s], or %s = { … }", key, lastName(key))
}

func missingRemedy(name string, tag reflect.StructTag) string {
	if words := tag.Get("oneof"); words != "" {
		return fmt.Sprintf("add %s = … with one of %s", name, strings.ReplaceAll(words, " ", ", "))
	}
	return fmt.Sprintf(`add %s = "…"`, name)
}

func suggestWord(s string, words []string) string {
	if len(words) == 1 {
		return fmt.Sprintf("write %q, or leave it out", words[0])
	}
	if n := nearest(s, words); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "choose one of them"
}

func lastName(key string) string { return key[strings.LastIndex(key, ".")+1:] }

// oneLine keeps a mistake on one line whatever a foreign error says.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// suggest is the remedy for a word that is none of the known ones.
func suggest(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(known) == 0 {
		return "leave it out"
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "choose from " + strings.Join(known, ", ")
}
