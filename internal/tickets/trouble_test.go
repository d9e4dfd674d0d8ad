package tickets_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/tickets"
)

// stored is what a file with these keys holds.
func stored(t *testing.T, sizes ...int) string {
	t.Helper()
	type key struct {
		Born   time.Time `json:"born"`
		Secret []byte    `json:"secret"`
	}
	keys := []key{}
	for _, size := range sizes {
		keys = append(keys, key{birth, make([]byte, size)})
	}
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestADamagedFileCostsOneFullHandshake(t *testing.T) {
	for name, text := range map[string]string{
		"empty":     "",
		"half":      stored(t, 32, 32)[:60],
		"foreign":   "# a file of somebody else's\n",
		"too short": stored(t, 32, 16),
		"too big":   strings.Repeat(" ", 1<<20) + stored(t, 32),
	} {
		t.Run(name, func(t *testing.T) {
			file, c := keyFile(t), &clock{birth}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			mended(t, file, c, "damaged")
		})
	}
}

// mended checks that what is at file is told, and replaced by good keys.
func mended(t *testing.T, file string, c *clock, why string) {
	t.Helper()
	k, err := tickets.Open(file, c.now)
	if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), file) {
		t.Errorf("told: %v; want %q and the file's name", err, why)
	}
	if again := current(t, open(t, file, c.now)); !slices.Equal(again, current(t, k)) {
		t.Error("the file was not replaced")
	}
}

func TestWhatIsNoFileIsReplaced(t *testing.T) {
	t.Run("pipe", func(t *testing.T) {
		file := keyFile(t)
		if err := syscall.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
		mended(t, file, &clock{birth}, "it is not a file")
	})
	t.Run("symbolic link", func(t *testing.T) {
		file, target := keyFile(t), keyFile(t)
		if err := errors.Join(os.WriteFile(target, []byte("precious"), 0o600), os.Symlink(target, file)); err != nil {
			t.Fatal(err)
		}
		mended(t, file, &clock{birth}, "symbolic links")
		if text, err := os.ReadFile(target); string(text) != "precious" {
			t.Errorf("where it led there is %q now, %v", text, err)
		}
	})
}

// Who could read the keys can read the sessions: they are not used any more, not
// even by a process that has had them since before.
func TestKeysThatOthersCouldReadAreGivenUp(t *testing.T) {
	for name, expose := range map[string]func(string) error{
		"group":      func(file string) error { return os.Chmod(file, 0o640) },
		"world":      func(file string) error { return os.Chmod(file, 0o604) },
		"other user": func(file string) error { return os.Chown(file, 4711, -1) },
	} {
		t.Run(name, func(t *testing.T) {
			file, c := keyFile(t), &clock{birth}
			k := open(t, file, c.now)
			before := current(t, k)
			if err := expose(file); errors.Is(err, os.ErrPermission) {
				t.Skip("only root can give a file away")
			} else if err != nil {
				t.Fatal(err)
			}
			after, err := k.Current()
			if err == nil || !strings.Contains(err.Error(), "others could read it") {
				t.Errorf("told: %v", err)
			}
			if len(after) != 1 || slices.Contains(after, before[0]) {
				t.Error("a known key is in use")
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 || !slices.Equal(after, current(t, open(t, file, c.now))) {
				t.Errorf("the file is as it was, %v", err)
			}
		})
	}
}

// An administrator who fears that keys were stolen removes the file.
func TestARemovedFileMeansNewKeys(t *testing.T) {
	file, c := keyFile(t), &clock{birth}
	k := open(t, file, c.now)
	before := current(t, k)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(current(t, k), before[0]) {
		t.Error("a removed key is in use")
	}
}

// The state folder is not there, cannot be read, is full …: see process_test.go
// for the last.
func TestWithoutAFolderKeysAreInMemory(t *testing.T) {
	dir, c := filepath.Join(t.TempDir(), "state"), &clock{birth}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tickets.keys")
	k, err := tickets.Open(file, c.now)
	if err == nil || !strings.Contains(err.Error(), file) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("told: %v", err)
	}
	first := current(t, k) // and the error is told once
	c.at = birth.Add(25 * time.Hour)
	if got := current(t, k); len(got) != 2 || got[1] != first[0] {
		t.Errorf("on the next day there are %d keys", len(got))
	}
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if kept := current(t, k); !slices.Equal(kept, current(t, open(t, file, c.now))) || !slices.Contains(kept, first[0]) {
		t.Error("when the folder is back the file lacks the keys in use")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Current(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next trouble is told as %v", err)
	}
}

func TestAFolderInTheWayIsTold(t *testing.T) {
	file := keyFile(t)
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := tickets.Open(file, time.Now)
	if err == nil || len(current(t, k)) != 1 {
		t.Errorf("told: %v", err)
	}
	if left, _ := filepath.Glob(file + "?*"); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// usher starts also while another process sleeps on the lock.
func TestAProcessThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := keyFile(t)
		before := current(t, open(t, file, time.Now))
		defer hold(t, filepath.Dir(file))()
		if again := current(t, open(t, file, time.Now)); !slices.Equal(again, before) {
			t.Error("the keys are not read")
		}
		time.Sleep(25 * time.Hour)
		began := time.Now()
		k, err := tickets.Open(file, time.Now)
		if took := time.Since(began); took > 10*time.Second || err == nil || !strings.Contains(err.Error(), "another process holds it") {
			t.Errorf("after %v it is told: %v", took, err)
		}
		if keys, _ := k.Current(); len(keys) != 2 || keys[1] != before[0] {
			t.Errorf("there are %d keys", len(keys))
		}
	})
}

// hold locks a folder as another process would.
func hold(t *testing.T, folder string) (release func()) {
	t.Helper()
	dir, err := os.Open(folder)
	if err == nil {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = dir.Close() }
}
