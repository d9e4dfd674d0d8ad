package slab_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"usher/internal/slab"
)

func TestAValueStaysWhatItIsWhileOthersComeAndGo(t *testing.T) {
	var s slab.Slab[uint64]
	have, places := map[int32]uint64{}, map[int32]*uint64{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(100_000) {
		if most := 1 + i%5000; uint64(len(have)) < most && random.IntN(3) > 0 {
			n, v := s.Add()
			if _, taken := have[n]; taken || *v != 0 {
				t.Fatalf("number %d was given away twice, or with %d in it", n, *v)
			}
			*v, have[n], places[n] = i+1, i+1, v
			continue
		}
		for n := range have {
			s.Remove(n)
			delete(have, n)
			if s.At(n) != nil {
				t.Fatalf("number %d is there after it was removed", n)
			}
			break
		}
	}
	seen := 0
	for n, v := range s.All() {
		if seen++; *v != have[n] || v != places[n] || s.At(n) != v {
			t.Fatalf("number %d holds %d, want %d, where it was", n, *v, have[n])
		}
	}
	if seen != len(have) || s.Len() != len(have) {
		t.Errorf("%d are found, %d counted, want %d", seen, s.Len(), len(have))
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	var s slab.Slab[int]
	n, _ := s.Add()
	for _, other := range []int32{n + 1, -1, 63, 64, 1 << 30} {
		if s.At(other) != nil {
			t.Errorf("there is something at %d", other)
		}
		s.Remove(other)
	}
	if s.Len() != 1 {
		t.Errorf("%d are left, want 1", s.Len())
	}
}

// After a rush its memory is given back.
func TestAnEmptySlabHoldsNextToNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var s slab.Slab[[100]byte]
	for range 100_000 {
		s.Add()
	}
	for n := range int32(100_000) {
		s.Remove(n)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 100<<10 {
		t.Errorf("it holds %d KB", grew>>10)
	}
	runtime.KeepAlive(&s)
}

// One that comes and goes, again and again, allocates nothing.
func TestComingAndGoingIsFree(t *testing.T) {
	var s slab.Slab[[100]byte]
	n, _ := s.Add()
	s.Remove(n)
	if got := testing.AllocsPerRun(1000, func() { n, _ := s.Add(); s.Remove(n) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
