package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// CrowdSec returns the folder into which scripts/aside has unpacked CrowdSec, and the
// environment that its programs need: usr/bin/crowdsec, etc/crowdsec/patterns,
// usr/share/crowdsec/hub, … It skips a test that cannot have it, except in CI.
func CrowdSec(t testing.TB) (root string, env []string) {
	t.Helper()
	root = unpacked(t, "crowdsec")
	return root, append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(root, "usr/lib"))
}

// Cyrus returns a command that runs a test client of Cyrus: imtest, pop3test. It skips a
// test that cannot have it, except in CI.
func Cyrus(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	root := filepath.Join(unpacked(t, "cyrus"), "usr/lib")
	c := exec.CommandContext(t.Context(), filepath.Join(root, "cyrus/bin", program), args...)
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+root)
	return c
}

// unpacked is a folder in the cache that scripts/aside fills.
func unpacked(t testing.TB, name string) (root string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	root = filepath.Join(cache, "usher", name)
	if err == nil {
		_, err = os.Stat(filepath.Join(root, "made"))
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI must have what scripts/aside brings: %v", err)
	default:
		t.Skipf("run scripts/aside for this test: %v", err)
	}
	return root
}
