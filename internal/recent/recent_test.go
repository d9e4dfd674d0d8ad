package recent_test

import (
	"maps"
	"testing"

	"usher/internal/recent"
)

func TestWhatIsAskedForStays(t *testing.T) {
	r := recent.Table[int, string]{Most: 10}
	r.Put(-1, "asked for")
	for i := range 1000 {
		r.Put(i, "passing")
		if v, ok := r.Get(-1); !ok || v != "asked for" {
			t.Fatalf("after %d others it is %q, %v", i+1, v, ok)
		}
		if r.Len() > 10 {
			t.Fatalf("it holds %d, where 10 is the most", r.Len())
		}
	}
	if _, ok := r.Get(500); ok {
		t.Error("what came long ago is still there")
	}
	if _, ok := r.Get(999); !ok {
		t.Error("what came last is not there")
	}
}

func TestAValueIsThereOnce(t *testing.T) {
	r := recent.Table[int, int]{Most: 4}
	for i := range 3 { // 0 and 1 are old then
		r.Put(i, i)
	}
	r.Put(0, 7)
	if v, _ := r.Get(0); v != 7 || r.Len() != 3 {
		t.Errorf("0 is %d, and there are %d", v, r.Len())
	}
	if all := maps.Collect(r.All()); len(all) != 3 || all[0] != 7 || all[1] != 1 || all[2] != 2 {
		t.Errorf("all are %v", all)
	}
	r.Delete(1)
	r.Delete(2)
	if _, ok := r.Get(1); ok || r.Len() != 1 {
		t.Errorf("after two were deleted there are %d", r.Len())
	}
}

func TestAnEmptyTableKnowsNothing(t *testing.T) {
	var r recent.Table[string, int]
	if _, ok := r.Get("x"); ok || r.Len() != 0 {
		t.Error("it knows something")
	}
	r.Delete("x")
	for range r.All() {
		t.Error("there is something in it")
	}
	r.Put("x", 1)
	if v, ok := r.Get("x"); !ok || v != 1 {
		t.Error("it cannot hold even one")
	}
}
