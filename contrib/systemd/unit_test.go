// Package systemd_test holds the units to what systemd's own programs say of them.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"usher/internal/need"
)

// installed copies the units, with a program that is there in place of usher.
func installed(t *testing.T, names ...string) (files []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/usr/bin/usher", program)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// A word that systemd does not know it only warns of, and goes on without it.
func TestSystemdUnderstandsEveryLine(t *testing.T) {
	need.Program(t, "systemd-analyze")
	units := installed(t, "usher.service", "usher.socket", "usher-imap.socket", "usher-imap@.service")
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheDropInForTheRelayProcessIsUnderstood(t *testing.T) {
	text := understood(t, "relay-process.conf")
	for _, call := range []string{"capset", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"} { // else it says that its sandbox has a hole
		if !regexp.MustCompile(`(?m)^SystemCallFilter=.*\b` + call + `\b`).MatchString(text) {
			t.Errorf("the relay process may not call %s", call)
		}
	}
}

// With the drop-in usher may become others, and the rest of the sandbox stays.
func TestTheDropInForLocalProgramsIsUnderstood(t *testing.T) {
	text := understood(t, "local.conf")
	for _, word := range []string{"\nOOMPolicy=continue\n", "\nNotifyAccess=main\n"} { // who owns a program cannot end usher by it
		if !strings.Contains(text, word) {
			t.Errorf("the drop-in has no line %q", word)
		}
	}
	for _, word := range []string{"CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_KILL", "CAP_SYS_PTRACE"} {
		if strings.Contains(text, word) {
			t.Errorf("the service may have %s", word)
		}
	}
}

// understood holds a drop-in to systemd's own verdict.
func understood(t *testing.T, name string) string {
	t.Helper()
	need.Program(t, "systemd-analyze")
	unit := installed(t, "usher.service")[0]
	dropIn := unit + ".d"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dropIn, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dropIn, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	return string(text)
}

// A hole in usher is not a hole in the machine: systemd's measure of what the
// service may do is 2.0 of 10 at most.
func TestTheServiceMayDoLittle(t *testing.T) {
	need.Program(t, "systemd-analyze")
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", "usher.service").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Overall exposure level for usher.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheUserIsOneThatSystemdCanMake(t *testing.T) {
	need.Program(t, "systemd-sysusers")
	root := t.TempDir()
	file, err := filepath.Abs("sysusers.d/usher.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-sysusers", "--dry-run", "--root="+root, file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "usher") {
		t.Errorf("%v\n%s", err, out)
	}
}
