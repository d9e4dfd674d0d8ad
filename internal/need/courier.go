package need

import (
	"os"
	"path/filepath"
	"testing"
)

// Courier returns the folder into which scripts/aside has unpacked Courier's
// authentication library: usr/sbin/userdb, usr/lib/courier/courier-authlib/authdaemond,
// etc/courier/authldaprc, … It skips a test that cannot have it, except in CI.
//
// In place of /etc/courier and /run/courier its programs use folders of their working
// directory: start them in a CourierPlace.
func Courier(t testing.TB) (root string) {
	t.Helper()
	return unpacked(t, "courier")
}

// CourierPlace makes a working directory for Courier's programs, which ends with the
// test, and the environment that they need. It has an empty etc/courier, and
// run/courier/authdaemon, where authdaemond puts its socket: the path is short enough
// for one.
func CourierPlace(t testing.TB) (dir string, env []string) {
	t.Helper()
	root := Courier(t)
	dir, err := os.MkdirTemp("/tmp", "ca")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove Courier's folder: %v", err)
		}
	})
	for _, sub := range []string{"etc/courier", "run/courier/authdaemon"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "usr"), filepath.Join(dir, "usr")); err != nil {
		t.Fatal(err)
	}
	return dir, append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(root, "usr/lib"))
}
