//go:build linux && !cgo && (amd64 || arm64)

package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// A child has its errand, and of the helper what is in its file: no page that the helper
// has written to.
func TestChildHasNoneOfTheHelpersMemory(t *testing.T) {
	needRoot(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestChildOfALeanParent$")
	cmd.Env = []string{"SPAWN_TEST_LEAN=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestChildOfALeanParent has a process of its own, as other tests may want children that
// are whole.
func TestChildOfALeanParent(t *testing.T) {
	if os.Getenv("SPAWN_TEST_LEAN") == "" {
		t.Skip("TestChildHasNoneOfTheHelpersMemory runs it")
	}
	before := mapped()
	written := make([]byte, 64<<20)
	for i := range written {
		written[i] = 1
	}
	if mapped() == before {
		t.Error("that there is more memory is not noticed")
	}
	must(t, shed())
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", halfBorn(t)))
	must(t, err)
	var where string
	kbs := 0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 5 {
			where = strings.TrimSpace(line)
		}
		var kb int
		if n, _ := fmt.Sscanf(line, "Anonymous: %d", &kb); n == 1 && kb > 0 {
			kbs += kb
			t.Logf("%s: %d KB", where, kb)
		}
	}
	if runtime.KeepAlive(written); kbs == 0 || kbs > 64 {
		t.Errorf("it has %d KB that were written to; an errand has some", kbs)
	}
}

func BenchmarkMapped(b *testing.B) {
	for b.Loop() {
		mapped()
	}
}

func BenchmarkShed(b *testing.B) {
	for b.Loop() {
		must(b, shed())
	}
}
