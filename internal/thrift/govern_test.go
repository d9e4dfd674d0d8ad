package thrift

import "testing"

func TestProcessorsFollowTheLoad(t *testing.T) {
	g := governor{most: 8, procs: 8}
	for range 8 {
		g.see(0)
	}
	if g.procs != 1 {
		t.Errorf("at rest it uses %d processors", g.procs)
	}
	for i, want := range []int{2, 4, 8, 8} {
		if got := g.see(float64(g.procs)); got != want {
			t.Errorf("look %d under full load: %d processors, want %d", i+1, got, want)
		}
	}
	for range spareLooks - 1 {
		g.see(4)
	}
	if g.see(6.5); g.procs != 8 {
		t.Errorf("a short calm takes processors away: %d are left", g.procs)
	}
	for range spareLooks {
		g.see(4)
	}
	if g.procs != 7 {
		t.Errorf("after a long calm it uses %d processors, want 7", g.procs)
	}
	for range 100 * spareLooks {
		g.see(4)
	}
	if g.procs != 6 { // 4 is four fifths of 5, which leaves too little to spare
		t.Errorf("for a load of 4 it uses %d processors, want 6", g.procs)
	}
}

func TestGarbageMayLieWhileThereIsLittleBesides(t *testing.T) {
	for alive, want := range map[uint64]int{0: 1000, 1 << 20: 1000, 3 << 20: 800, 12 << 20: 200, 24 << 20: 100, 1 << 40: 100} {
		if got := percent(alive); got != want {
			t.Errorf("of %d bytes alive: %d %%, want %d", alive, got, want)
		}
	}
}
