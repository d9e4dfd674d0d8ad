package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A document is the file that a Config was read from, kept to say where in it
// a mistake is.
type document struct {
	file  string // as it was given
	dir   string // what relative file names are relative to
	index index
}

// Load reads a file. If the file can be read but is wrong the error is
// Mistakes.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		remedy := "create the file, or name another one"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "let who runs this read it"
		}
		return nil, fmt.Errorf("read the configuration: %w (%s)", err, remedy)
	}
	return Parse(path, text, os.LookupEnv)
}

// Parse reads the text of a usher.toml. File is its name, for mistakes and for
// the file names in it; getenv is os.LookupEnv or, in tests, something else.
// The error is Mistakes: all that the file has, not only the first. A Config that
// comes with Mistakes is for whoever looks for more of them, not to run by.
func Parse(file string, text []byte, getenv func(string) (string, bool)) (*Config, error) {
	tree := map[string]any{}
	if err := toml.Unmarshal(text, &tree); err != nil {
		return nil, Mistakes{syntaxMistake(file, err)}
	}
	d := decoder{doc: &document{file: file, dir: folder(file), index: indexKeys(text)}}
	e := expander{getenv: getenv, wrong: d.wrong}
	e.table(tree, "")
	c := &Config{doc: d.doc}
	c.Ignored = d.prune(tree)
	d.root(c, tree)
	c.Warnings = d.warnings.sorted()
	c.adopt()
	return c, d.mistakes.err()
}

// Default is the configuration of an empty file.
func Default() *Config {
	c, err := Parse("usher.toml", nil, func(string) (string, bool) { return "", false })
	if err != nil {
		panic(fmt.Sprintf("config: the defaults are wrong: %v", err))
	}
	return c
}

// Has reports whether a key was written in the file, as in "tls.cert" or
// "listen[0].addr".
func (c *Config) Has(key string) bool {
	_, ok := c.doc.index[key]
	return ok
}

// folder is absolute, so that file names still mean the same after a chdir.
func folder(file string) string {
	dir := filepath.Dir(file)
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// syntaxMistake says in our form why the file is not TOML. The parser cannot
// go on after it, so it comes alone.
func syntaxMistake(file string, err error) Mistake {
	m := Mistake{File: file, What: strings.TrimPrefix(err.Error(), "toml: ")}
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		m.Line, m.Column = de.Position()
	}
	m.Remedy = `write key = value, one on a line, text in "quotes"`
	if strings.Contains(m.What, "already") {
		m.Remedy = "keep one of the two"
	}
	return m
}
