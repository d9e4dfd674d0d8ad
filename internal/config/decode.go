package config

import (
	"encoding"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A decoder fills structs from the tree that go-toml made of a file. go-toml
// fills structs too, but stops at the first value of a wrong type, and who
// writes a configuration wants to hear of all mistakes at once. It also knows
// the tags: default, oneof, required, as (see Accounts.Decode).
type decoder struct {
	doc      *document
	mistakes Mistakes
	warnings Mistakes
}

func (d *decoder) wrong(key, what, remedy string) {
	d.mistakes.add(d.doc.mistake(key, what, remedy))
}

// root decodes the whole file.
func (d *decoder) root(c *Config, tree map[string]any) {
	d.table(reflect.ValueOf(c).Elem(), tree, "")
	if len(c.Accounts) == 0 {
		var a Accounts
		d.accounts(&a, map[string]any{"type": "sql", "driver": "sqlite"}, "accounts[0]")
		c.Accounts = []Accounts{a}
	}
}

// value decodes one value of any type that the structs use.
func (d *decoder) value(into reflect.Value, from any, key string, tag reflect.StructTag) {
	if from == (broken{}) {
		return
	}
	switch p := into.Addr().Interface().(type) {
	case *Accounts:
		d.accounts(p, from, key)
		return
	case *time.Duration:
		d.unmarshal((*Duration)(p), from, key)
		return
	case encoding.TextUnmarshaler:
		d.unmarshal(p, from, key)
		return
	}
	switch into.Kind() {
	case reflect.String:
		d.text(into, from, key, tag)
	case reflect.Bool:
		d.boolean(into, from, key)
	case reflect.Int, reflect.Int64, reflect.Int32:
		d.number(into, from, key)
	case reflect.Slice:
		d.list(into, from, key, tag)
	case reflect.Map:
		d.names(into, from, key, tag)
	case reflect.Struct:
		d.table(into, from, key)
	default:
		panic(fmt.Sprintf("config: %s: no way to decode a %s", key, into.Type()))
	}
}

func (d *decoder) unmarshal(into encoding.TextUnmarshaler, from any, key string) {
	_, isDuration := into.(*Duration)
	s, ok := from.(string)
	switch {
	case isDuration && !ok:
		d.mistype(key, from, "a duration", durationRemedy)
	case !ok:
		d.mistype(key, from, "text", textRemedy)
	default:
		if err := into.UnmarshalText([]byte(s)); err != nil && isDuration {
			d.wrong(key, err.Error(), durationRemedy)
		} else if err != nil {
			d.wrong(key, oneLine(err), "see doc/config.md for what it may be")
		}
	}
}

func (d *decoder) text(into reflect.Value, from any, key string, tag reflect.StructTag) {
	s, ok := from.(string)
	if !ok {
		d.mistype(key, from, "text", textRemedy)
		return
	}
	words := strings.Fields(tag.Get("oneof"))
	mayBeEmpty := tag.Get("default") == "" && tag.Get("required") == ""
	if len(words) > 0 && !slices.Contains(words, s) && (s != "" || !mayBeEmpty) {
		d.wrong(key, fmt.Sprintf("%.80q is none of %s", s, strings.Join(words, ", ")), suggestWord(s, words))
	}
	if isPath := into.Type() == reflect.TypeFor[Path]() || tag.Get("as") == "path"; isPath {
		s = d.doc.resolve(s)
	}
	into.SetString(s)
}

// resolve makes a file name absolute.
func (d *document) resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

func (d *decoder) boolean(into reflect.Value, from any, key string) {
	b, ok := from.(bool)
	if !ok {
		d.mistype(key, from, "true or false", "write true or false, without quotes")
		return
	}
	into.SetBool(b)
}

// number refuses negative ones: no count of anything is below zero.
func (d *decoder) number(into reflect.Value, from any, key string) {
	n, ok := from.(int64)
	switch {
	case !ok:
		d.mistype(key, from, "a whole number", "write it like 50, without quotes")
	case n < 0:
		d.wrong(key, fmt.Sprintf("%d is negative", n), "write 0 or more")
	case into.OverflowInt(n):
		d.wrong(key, fmt.Sprintf("%d is too large", n), "write a smaller number")
	default:
		into.SetInt(n)
	}
}

func (d *decoder) list(into reflect.Value, from any, key string, tag reflect.StructTag) {
	items, ok := from.([]any)
	if _, isText := from.(string); isText && tag.Get("as") == "list" {
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		d.value(into.Index(0), from, key, "")
		return
	}
	if !ok && into.Type().Elem().Kind() == reflect.Struct {
		d.mistype(key, from, "a list of tables", fmt.Sprintf("write it as [[%s]]", key))
		return
	}
	if !ok {
		d.mistype(key, from, "a list", fmt.Sprintf(`write it in brackets: %s = ["…", "…"]`, lastName(key)))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(into.Index(i), item, element(key, i), tag)
	}
}

// names decodes a table whose keys the user chooses.
func (d *decoder) names(into reflect.Value, from any, key string, tag reflect.StructTag) {
	table, ok := from.(map[string]any)
	if !ok {
		d.mistype(key, from, "a table", tableRemedy(key))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		v := reflect.New(into.Type().Elem()).Elem()
		d.value(v, table[name], join(key, name), tag)
		into.SetMapIndex(reflect.ValueOf(name), v)
	}
}

// table decodes a table whose keys are the fields of a struct.
func (d *decoder) table(into reflect.Value, from any, key string) {
	table, ok := from.(map[string]any)
	if !ok {
		d.mistype(key, from, "a table", tableRemedy(key))
		return
	}
	known := d.fields(into, table, key)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(known, name) {
			d.mistakes.add(d.doc.mistakeInKey(join(key, name), "unknown key", suggest(name, known)))
		}
	}
}

// fields fills a struct and gives the names that it knows.
func (d *decoder) fields(into reflect.Value, table map[string]any, key string) []string {
	var known []string
	for _, f := range reflect.VisibleFields(into.Type()) {
		name := keyOf(f)
		if name == "" {
			continue
		}
		known = append(known, name)
		if isSecret(f) {
			known = append(known, fileKey(name))
			d.secret(into.FieldByIndex(f.Index), f, table, key)
			continue
		}
		d.field(into.FieldByIndex(f.Index), f, table, key)
	}
	return slices.Compact(known)
}

func (d *decoder) field(into reflect.Value, f reflect.StructField, table map[string]any, key string) {
	name := keyOf(f)
	key = join(key, name)
	def, hasDefault := f.Tag.Lookup("default")
	switch v, written := table[name]; {
	case written:
		d.value(into, v, key, f.Tag)
	case f.Tag.Get("required") != "":
		d.wrong(key, "is missing", missingRemedy(name, f.Tag))
	case hasDefault:
		d.value(into, literal(into, def), key, f.Tag)
	case into.Kind() == reflect.Struct:
		d.table(into, map[string]any{}, key) // its fields have defaults too
	}
}

// keyOf is a field's key: the toml tag, else its name in lower case. A field
// that is no key has none.
func keyOf(f reflect.StructField) string {
	switch name, _, _ := strings.Cut(f.Tag.Get("toml"), ","); {
	case !f.IsExported() || f.Anonymous || name == "-":
		return ""
	case name == "":
		return strings.ToLower(f.Name)
	default:
		return name
	}
}

// literal makes of a default tag what the parser would have made of the file.
func literal(into reflect.Value, text string) any {
	if b, err := strconv.ParseBool(text); err == nil && into.Kind() == reflect.Bool {
		return b
	}
	_, isText := into.Addr().Interface().(encoding.TextUnmarshaler)
	_, isDuration := into.Addr().Interface().(*time.Duration)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && into.CanInt() && !isText && !isDuration {
		return n
	}
	return text
}
