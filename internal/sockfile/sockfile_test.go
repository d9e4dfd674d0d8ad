package sockfile_test

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"usher/internal/sockfile"
)

func TestASocketTakesThePlaceOfWhateverIsThere(t *testing.T) {
	dir := t.TempDir()
	path, room := filepath.Join(dir, "socket"), filepath.Join(dir, "room")
	for _, left := range []string{path, room} {
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, file, err := sockfile.Listen(path, room, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || !os.SameFile(info, file) || info.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("there is %v, %v", info, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
	_ = ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing it has removed the file: it may be another's by then: %v", err)
	}
}

func TestWhatCannotBeMadeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "socket", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sockfile.Listen(filepath.Join(dir, "socket"), filepath.Join(dir, "room"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
}
