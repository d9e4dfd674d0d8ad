package need_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

// Each test has a Courier of its own, whoever runs it.
func TestCouriersProgramsWorkInTheirPlace(t *testing.T) {
	t.Parallel()
	dir, env := need.CourierPlace(t)
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.Env = dir, env
		return c
	}
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	run("usr/sbin/userdb", "ann", "set", "options=mailhost=a.example.org", "uid=1000", "gid=1000", "home=/tmp")
	run("usr/sbin/makeuserdb")
	if err := os.WriteFile(filepath.Join(dir, "etc/courier/authdaemonrc"), []byte("authmodulelist=\"authuserdb\"\ndaemons=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, command("usr/lib/courier/courier-authlib/authdaemond"))
	if said := run("usr/sbin/authtest", "-s", "imap", "ann"); !strings.Contains(said, "Options: mailhost=a.example.org") {
		t.Errorf("authtest says %q", said)
	}
}

// startDaemon returns once its socket is there. SIGTERM ends its children too.
func startDaemon(t *testing.T, c *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("authdaemond said: %s", said.String())
		}
	})
	socket := filepath.Join(c.Dir, "run/courier/authdaemon/socket")
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("authdaemond makes no socket")
}
