// Command manual writes doc/config.md from the comments and tags of the structs
// in internal/config, and from the parts that are kept by hand beside it:
//
//	go run ./internal/config/manual > doc/config.md
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	text, err := manual(".")
	if err != nil {
		log.Fatalf("cannot write the manual: %v (start it in the module's root)", err)
	}
	fmt.Print(text)
}

// manual is the whole of doc/config.md.
func manual(root string) (string, error) {
	structs, err := readStructs(filepath.Join(root, "internal/config/config.go"))
	if err != nil {
		return "", err
	}
	w := writer{structs: structs}
	w.handWritten(filepath.Join(root, "internal/config/manual/intro.md"))
	w.handWritten(filepath.Join(root, "doc/examples/minimal.toml"))
	w.tables("Config", "")
	w.handWritten(filepath.Join(root, "internal/config/manual/fields.md"))
	w.handWritten(filepath.Join(root, "internal/config/manual/local.md"))
	w.handWritten(filepath.Join(root, "internal/config/manual/mechanisms.md"))
	w.handWritten(filepath.Join(root, "internal/config/manual/pool.md"))
	w.handWritten(filepath.Join(root, "internal/config/manual/starters.md"))
	w.handWritten(filepath.Join(root, "internal/config/manual/commands.md"))
	return strings.TrimSpace(w.String()) + "\n", w.err
}

// A table is a struct of the configuration.
type table struct {
	doc    string
	fields []*ast.Field
}

func readStructs(file string) (map[string]table, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	structs := map[string]table{}
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			continue
		}
		t := d.Specs[0].(*ast.TypeSpec)
		if s, ok := t.Type.(*ast.StructType); ok {
			structs[t.Name.Name] = table{d.Doc.Text(), s.Fields.List}
		}
	}
	return structs, nil
}

type writer struct {
	strings.Builder
	structs map[string]table
	err     error // the first one
}

func (w *writer) handWritten(file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		w.fail("%w", err)
	}
	text := string(b)
	if filepath.Ext(file) == ".toml" {
		text = "```toml\n" + text + "```\n\n## Keys"
	}
	fmt.Fprintf(w, "%s\n\n", strings.TrimSpace(text))
}

// tables writes a section for each table inside of a struct.
func (w *writer) tables(name, path string) {
	for _, f := range w.structs[name].fields {
		k := newKey(f)
		if k.name == "" || w.structs[k.elem].fields == nil {
			continue
		}
		at := k.name
		if path != "" {
			at = path + "." + at
		}
		switch k.kind {
		case "list":
			w.section(k.elem, "[["+at+"]]", at)
		case "map":
			w.section(k.elem, "["+at+".NAME]", at+".NAME")
		default:
			if path == "" { // deeper ones are rows of their table
				w.section(k.elem, "["+at+"]", at)
			}
		}
	}
}

func (w *writer) section(name, header, path string) {
	about := strings.TrimPrefix(flat(w.structs[name].doc), name+" ")
	fmt.Fprintf(w, "### `%s`\n\n%s\n\n", header, upper(strings.TrimPrefix(about, "is ")))
	fmt.Fprint(w, "| key | type | default | meaning |\n|---|---|---|---|\n")
	w.rows(name, "")
	fmt.Fprintln(w)
	w.tables(name, path)
}

func (w *writer) rows(name, prefix string) {
	for _, f := range w.structs[name].fields {
		k := newKey(f)
		switch inner := w.structs[k.elem].fields; {
		case k.name == "":
		case inner == nil:
			w.row(k, prefix)
		case k.kind == "":
			w.rows(k.elem, prefix+k.name+".")
		}
	}
}

func (w *writer) row(k key, prefix string) {
	meaning, said, has := strings.Cut(flat(k.doc), " Default: ")
	if got := strings.Trim(strings.TrimSuffix(said, "."), `"`); has != k.hasDefault || got != k.def {
		w.fail("the comment of %s%s says the default %q, its tag %q", prefix, k.name, got, k.def)
	}
	if meaning == "" {
		w.fail("%s%s has no comment", prefix, k.name)
	}
	fmt.Fprintf(w, "| `%s%s` | %s | %s | %s |\n", prefix, k.name, k.typeText(), k.defaultText(), cell(meaning))
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// A key is a field as the manual sees it.
type key struct {
	name, doc  string
	kind, elem string // kind: list, map or ""; elem: the Go type in it
	def        string
	hasDefault bool
	required   bool
	words      []string
}

func newKey(f *ast.Field) key {
	if f.Tag == nil {
		return key{}
	}
	text, _ := strconv.Unquote(f.Tag.Value)
	tag := reflect.StructTag(text)
	name, _, _ := strings.Cut(tag.Get("toml"), ",")
	if name == "-" {
		return key{}
	}
	k := key{name: name, doc: f.Doc.Text(), required: tag.Get("required") != "", words: strings.Fields(tag.Get("oneof"))}
	k.def, k.hasDefault = tag.Lookup("default")
	k.kind, k.elem = typeOf(f.Type)
	return k
}

func typeOf(e ast.Expr) (kind, elem string) {
	switch e := e.(type) {
	case *ast.ArrayType:
		_, elem = typeOf(e.Elt)
		return "list", elem
	case *ast.MapType:
		_, elem = typeOf(e.Value)
		return "map", elem
	case *ast.Ident:
		return "", e.Name
	}
	panic(fmt.Sprintf("manual: no way to write a %T", e))
}

func (k key) typeText() string {
	if len(k.words) > 0 {
		return "`\"" + strings.Join(k.words, "\"`, `\"") + "\"`"
	}
	names := map[string]string{
		"string": "text", "int": "number", "bool": "`true`, `false`",
		"Path": "file name", "Duration": "duration", "Secret": "secret",
	}
	switch name := names[k.elem]; k.kind {
	case "list":
		return "list of " + name + "s"
	case "map":
		return "table of " + name
	default:
		return name
	}
}

func (k key) defaultText() string {
	switch {
	case k.required:
		return "required"
	case !k.hasDefault:
		return ""
	case k.elem == "int" || k.elem == "bool":
		return "`" + k.def + "`"
	}
	return fmt.Sprintf("`%q`", k.def)
}

// flat makes one line of a comment.
func flat(doc string) string { return strings.Join(strings.Fields(doc), " ") }

// cell keeps a bar from ending the cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
