package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// accounts decodes what all sources have in common and keeps the rest for
// Decode.
func (d *decoder) accounts(into *Accounts, from any, key string) {
	table, ok := from.(map[string]any)
	if !ok {
		d.mistype(key, from, "a table", "write it as [[accounts]]")
		return
	}
	rest := maps.Clone(table)
	for _, name := range d.fields(reflect.ValueOf(into).Elem(), table, key) {
		delete(rest, name)
	}
	into.rest, into.key = rest, key
}

// adopt lets the sources find their file again when they are decoded.
func (c *Config) adopt() {
	for i := range c.Accounts {
		c.Accounts[i].config = c
	}
}

// Block tells blocks apart: of two with the same, the sources say the same of the same
// accounts. For how long that is remembered does not matter. Secrets cannot be read
// from it.
func (a Accounts) Block() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q %#v", a.Type, a.Name, a.Only, a.Skip, a.Keys, a.Set, a.rest) // maps in the order of their keys
	return hex.EncodeToString(h.Sum(nil))
}

// Decode decodes the keys of the source's kind into a struct, of which it must
// get the address. The error is Mistakes.
//
// The struct has the same tags as those of this package: toml, default, oneof,
// required. Since drivers do not import config they have no Path and no Secret:
// as:"path" makes a string a file name, relative to the folder of usher.toml,
// as:"secret" makes it a secret, with a KEY_file beside it, and as:"list" lets text
// stand for a list of one. time.Duration and whatever has UnmarshalText are read
// from text.
func (a Accounts) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: Decode needs the address of a struct, not a %T", into))
	}
	d := decoder{doc: a.config.doc}
	d.table(v.Elem(), a.rest, a.key)
	for _, w := range d.warnings {
		a.config.Warnings.add(w)
	}
	return d.mistakes.err()
}

// SourceNames are what logs and commands call the account sources, in their order: the
// key name, else the type; with a number where another has that already.
func (c *Config) SourceNames() (names []string) {
	for _, a := range c.Accounts {
		given := cmp.Or(a.Name, a.Type)
		name := given
		for n := 2; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s-%d", given, n)
		}
		names = append(names, name)
	}
	return names
}
