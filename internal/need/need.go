// Package need tells tests whether they can have a program. Only tests import it.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program, also of one that ordinary users have no
// PATH to. It skips a test that cannot have it, except in CI, where nobody would
// see that: there it fails.
func Program(t testing.TB, name string) (path string) {
	t.Helper()
	path, err := exec.LookPath("/usr/sbin/" + name)
	if err == nil {
		return path
	}
	if path, err = exec.LookPath(name); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must have %s: %v", name, err)
	}
	t.Skipf("%s is not installed", name)
	return ""
}
