// Package recent remembers what was seen lately: so many things and no more, however
// many strangers bring.
package recent

import "iter"

// A Table holds values by key, at most Most of them. When there are too many, it
// forgets half: those that nobody has asked for in the longest time. It is for one
// goroutine at a time. Its zero value with Most set is empty.
type Table[K comparable, V any] struct {
	Most int

	young, old map[K]V // a generation, and the one before
}

// Get returns the value of a key.
func (t *Table[K, V]) Get(k K) (v V, ok bool) {
	if v, ok = t.young[k]; ok {
		return v, true
	}
	if v, ok = t.old[k]; ok {
		delete(t.old, k)
		t.Put(k, v)
	}
	return v, ok
}

// Put keeps a value.
func (t *Table[K, V]) Put(k K, v V) {
	if t.young == nil {
		t.young, t.old = map[K]V{}, map[K]V{}
	}
	if _, here := t.young[k]; !here && len(t.young) >= max(1, t.Most/2) {
		t.young, t.old = t.old, t.young // they keep their memory: nothing is asked for again
		clear(t.young)
	}
	t.young[k] = v
	delete(t.old, k)
}

// Delete forgets a key.
func (t *Table[K, V]) Delete(k K) {
	delete(t.young, k)
	delete(t.old, k)
}

// Len is how many values there are.
func (t *Table[K, V]) Len() int { return len(t.young) + len(t.old) }

// All are the keys with their values, in no order. The table must not be changed
// meanwhile.
func (t *Table[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, m := range []map[K]V{t.young, t.old} {
			for k, v := range m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}
