package need

import (
	"os"
	"path/filepath"
	"testing"
)

// CrowdSec returns the folder into which scripts/crowdsec has unpacked CrowdSec, and the
// environment that its programs need: usr/bin/crowdsec, etc/crowdsec/patterns,
// usr/share/crowdsec/hub, … It skips a test that cannot have it, except in CI.
func CrowdSec(t testing.TB) (root string, env []string) {
	t.Helper()
	root = unpacked(t, "crowdsec")
	return root, append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(root, "usr/lib"))
}

// unpacked is the folder in the cache that a script of that name fills.
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
		t.Fatalf("CI must have what scripts/%s brings: %v", name, err)
	default:
		t.Skipf("run scripts/%s for this test: %v", name, err)
	}
	return root
}
