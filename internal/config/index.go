package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// An index says where in a file each key is. Its own keys are paths such as
// "listen[0].tls". go-toml's decoder tells positions only of what it finds
// wrong itself, and stops there; so values come from the decoder and positions
// from here.
type index map[string]spot

// A spot is where a key and its value begin. For a table both are its name in
// the header.
type spot struct{ key, value position }

type position struct{ line, column int }

// find is where a key is, or else the nearest table around it.
func (x index) find(key string) spot {
	for key != "" {
		if s, ok := x[key]; ok {
			return s
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return spot{}
}

// join and element make paths. A name that would not read well in a message is
// quoted.
func join(table, name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r == '"' || r == ' ' || !strconv.IsPrint(r)
	}) {
		name = strconv.Quote(name)
	}
	if table == "" {
		return name
	}
	return table + "." + name
}

func element(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// An indexer reads the file from top to bottom.
type indexer struct {
	index
	text   []byte
	parser unstable.Parser
	blocks map[string]int // how many [[…]] of that path there were
}

// indexKeys expects text that go-toml has found right.
func indexKeys(text []byte) index {
	x := indexer{index: index{}, text: text, blocks: map[string]int{}}
	x.parser.Reset(text)
	table := ""
	for x.parser.NextExpression() {
		switch e := x.parser.Expression(); e.Kind {
		case unstable.Table:
			table = x.table(e)
		case unstable.ArrayTable:
			table = x.block(e)
		case unstable.KeyValue:
			x.keyValue(table, e)
		}
	}
	return x.index
}

// table indexes the header [a.b] and gives its path.
func (x *indexer) table(e *unstable.Node) string {
	path, _ := x.descend("", e.Key())
	if n := x.blocks[path]; n > 0 {
		return element(path, n-1)
	}
	return path
}

// block indexes the header [[a.b]] and gives the path of the new block.
func (x *indexer) block(e *unstable.Node) string {
	list, at := x.descend("", e.Key())
	path := element(list, x.blocks[list])
	x.blocks[list]++
	x.index[path] = spot{at, at}
	return path
}

// descend goes down a dotted key. What it meets on the way is the latest block
// of its list.
func (x *indexer) descend(path string, names unstable.Iterator) (string, position) {
	var at position
	for names.Next() {
		if n := x.blocks[path]; n > 0 {
			path = element(path, n-1)
		}
		path = join(path, string(names.Node().Data))
		at = x.position(names.Node())
		if _, known := x.index[path]; !known {
			x.index[path] = spot{at, at}
		}
	}
	return path, at
}

func (x *indexer) keyValue(table string, e *unstable.Node) {
	path, at := x.descend(table, e.Key())
	x.index[path] = spot{key: at, value: x.value(path, e.Value(), at)}
}

// value indexes what is inside of a value and gives its position. Lists have
// none in go-toml: they get the one of what they belong to.
func (x *indexer) value(path string, v *unstable.Node, at position) position {
	if v.Raw.Length > 0 {
		at = x.position(v)
	}
	inside := v.Children()
	switch v.Kind {
	case unstable.Array:
		for i := 0; inside.Next(); i++ {
			in := x.value(element(path, i), inside.Node(), at)
			x.index[element(path, i)] = spot{in, in}
		}
	case unstable.InlineTable:
		for inside.Next() {
			x.keyValue(path, inside.Node())
		}
	}
	return at
}

func (x *indexer) position(n *unstable.Node) position {
	before := x.text[:n.Raw.Offset]
	return position{
		line:   bytes.Count(before, []byte("\n")) + 1,
		column: len(before) - bytes.LastIndexByte(before, '\n'),
	}
}
