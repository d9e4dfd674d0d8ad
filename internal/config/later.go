package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A later is a key, or some words for a key, that are in the contract with users
// but that this version does not act on yet. In the key, * stands for every
// name and every place in a list.
type later struct {
	key    string
	words  string // only these values
	act    act
	remedy string
}

// An act is what to do with a later key.
type act int

const (
	refuse act = iota // it would change who gets in or where to: a mistake
	ignore            // works without: the value is not even looked at
)

const (
	notYet     = "this version cannot do that yet"
	noEffect   = "this version does not act on it yet"
	leaveItOut = "leave it out"
)

// laters is the one list of them. A line goes when the feature comes.
func laters() []later {
	return []later{
		{key: "listen.*.protocol", words: "sieve", remedy: "use imap or pop3"},
		{key: "backend.*.login.as", words: "peer", remedy: "use user, master or token"},
		{key: "pool"},
		{key: "cluster.type", words: "redis", remedy: "leave [cluster] out: this node is then alone"},
		{key: "cluster", act: ignore},
		{key: "dashboard", act: ignore},
	}
}

// prune takes what this version does not act on out of the tree and gives what
// it only ignores. Values that switch a feature off are what this version does
// anyway: nothing is said of them.
func (d *decoder) prune(tree map[string]any) Mistakes {
	var ignored Mistakes
	for _, l := range laters() {
		visit(tree, strings.Split(l.key, "."), "", func(v any, key string) any {
			switch {
			case !l.means(v):
				return v
			case isOff(v):
			case l.act == refuse:
				d.mistakes.add(l.mistake(d.doc, key, v))
			default:
				ignored.add(d.doc.mistakeInKey(key, noEffect, leaveItOut))
			}
			return l.left()
		})
	}
	return ignored.sorted()
}

func (l later) means(v any) bool {
	word, _ := v.(string)
	return l.words == "" || slices.Contains(strings.Fields(l.words), word)
}

// left is what stays in the tree. A refused word leaves its key, which would
// else be missing.
func (l later) left() any {
	switch {
	case l.act == ignore:
		return nil
	case l.words != "":
		return broken{}
	}
	return nil
}

func (l later) mistake(doc *document, key string, v any) Mistake {
	if l.words == "" {
		return doc.mistakeInKey(key, notYet, leaveItOut)
	}
	return doc.mistake(key, fmt.Sprintf("this version cannot do %q yet", v), l.remedy)
}

// visit calls do for every key that the pattern fits, and puts in its place
// what do returns; nil removes it.
func visit(node any, pattern []string, key string, do func(v any, key string) any) {
	switch node := node.(type) {
	case []any:
		for i, v := range node {
			if pattern[0] == "*" && len(pattern) > 1 {
				visit(v, pattern[1:], element(key, i), do)
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(node)) {
			if pattern[0] != "*" && pattern[0] != name {
				continue
			}
			if len(pattern) > 1 {
				visit(node[name], pattern[1:], join(key, name), do)
				continue
			}
			if v := do(node[name], join(key, name)); v != nil {
				node[name] = v
			} else {
				delete(node, name)
			}
		}
	}
}

// isOff reports whether a value says no more than its absence.
func isOff(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, inner := range v {
			if !isOff(inner) {
				return false
			}
		}
		return true
	}
	return v == "" || v == false || v == int64(0) || v == broken{}
}
