package keep

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

var aKey = []byte("0123456789abcdef0123456789abcdef")

// seal gives the bytes of a file.
func seal(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sealInto(&b, aKey, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unseal is what Read makes of the bytes of a file.
func unseal(sealed, key []byte) (text []byte, err error) {
	err = open(bytes.NewReader(sealed), key, func(r io.Reader) (err error) { text, err = io.ReadAll(r); return err })
	return text, err
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3*chunk + 7} {
		text := bytes.Repeat([]byte("secret "), size/7+1)[:size]
		err := Write(path, aKey, func(w io.Writer) error {
			_, err := io.Copy(struct{ io.Writer }{w}, iotest.HalfReader(bytes.NewReader(text)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		err = Read(path, aKey, func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err })
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes come back as %d, %v", size, len(got), err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	raw, _ := os.ReadFile(path)
	if bytes.Contains(raw, []byte("secret")) {
		t.Error("the file is not sealed")
	}
}

func TestTheSameTextIsSealedAnew(t *testing.T) {
	if bytes.Equal(seal(t, []byte("secret")), seal(t, []byte("secret"))) {
		t.Error("two files tell that they say the same")
	}
}

// Whatever happens to the file, it is not read as something else.
func TestADamagedFileIsNotRead(t *testing.T) {
	text := bytes.Repeat([]byte("secret "), chunk/2)
	whole := seal(t, text)
	head, piece := len(magic)+saltSize, chunk+16
	flip := func(i int) []byte { b := slices.Clone(whole); b[i] ^= 1; return b }
	for name, sealed := range map[string][]byte{
		"nothing":            {},
		"another file":       []byte("SQLite format 3\x00 and so on, for some length that is more than a header"),
		"another magic":      flip(3),
		"another salt":       flip(len(magic) + 3),
		"a bit in the first": flip(head),
		"a bit in the last":  flip(len(whole) - 1),
		"no chunk":           whole[:head],
		"half a chunk":       whole[:head+100],
		"one chunk":          whole[:head+piece],
		"the last is gone":   whole[:head+3*piece],
		"cut by a byte":      whole[:len(whole)-1],
		"more at the end":    append(slices.Clone(whole), 0),
		"two swapped":        slices.Concat(whole[:head], whole[head+piece:head+2*piece], whole[head:head+piece], whole[head+2*piece:]),
		"one left out":       slices.Concat(whole[:head], whole[head+piece:]),
		"one twice":          slices.Concat(whole[:head+piece], whole[head:]),
	} {
		if got, err := unseal(sealed, aKey); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := unseal(whole, bytes.ToUpper(aKey)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("another key: %v", err)
	}
	if got, err := unseal(whole, aKey); err != nil || !bytes.Equal(got, text) {
		t.Errorf("as it was: %v", err)
	}
}

func TestAnErrorOfTheDiskIsNoDamage(t *testing.T) {
	ill := errors.New("input/output error")
	whole := seal(t, make([]byte, 3*chunk))
	for _, n := range []int{3, 60, 1000, chunk + 1000} {
		err := open(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(ill)), aKey, func(r io.Reader) error { _, err := io.ReadAll(r); return err })
		if !errors.Is(err, ill) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestWhatCannotBeWrittenLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(text string, fails error) error {
		return Write(path, aKey, func(w io.Writer) error { _, err := io.WriteString(w, text); return errors.Join(err, fails) })
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	if err := write(strings.Repeat("x", 2*chunk), full); !errors.Is(err, full) {
		t.Errorf("it fails with %v", err)
	}
	if list, _ := filepath.Glob(path + "*"); len(list) != 1 {
		t.Errorf("%q are left", list)
	}
	if err := os.WriteFile(path+".new", []byte("from a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write("new", nil); err != nil {
		t.Fatal(err)
	}
	err := Read(path, aKey, func(r io.Reader) error {
		if text, err := io.ReadAll(r); err != nil || string(text) != "new" {
			t.Errorf("read %q, %v", text, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	use := func(io.Reader) error { t.Error("it is read"); return nil }
	if err := Read(filepath.Join(dir, "nothing"), aKey, use); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if err := Read(dir, aKey, use); err == nil {
		t.Error("a folder is read")
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Read(filepath.Join(dir, "link"), aKey, use); err == nil {
		t.Error("a link is followed")
	}
}

func TestAKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.key")
	if _, err := Key(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	var keys [16][]byte
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = MakeKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if len(k) != 2*keySize || !bytes.Equal(k, keys[0]) {
			t.Errorf("one is %d bytes, equal: %v", len(k), bytes.Equal(k, keys[0]))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("%v are left", list)
	}
}

func TestAFileThatIsNoKeyIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.key")
	for _, c := range []struct {
		text string
		mode os.FileMode
		good bool
	}{
		{strings.Repeat("k", 32), 0o600, true},
		{"\n" + strings.Repeat("k", 64) + "\n", 0o440, true},
		{strings.Repeat("k", 31) + "\n", 0o600, false},
		{strings.Repeat(" ", 64), 0o600, false},
		{"", 0o600, false},
		{strings.Repeat("k", mostKey+1), 0o600, false},
		{strings.Repeat("k", 32), 0o644, false},
	} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := MakeKey(path)
		if (err == nil) != c.good {
			t.Errorf("%d bytes, %v: %v", len(c.text), c.mode, err)
		}
		if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "kkk")) {
			t.Errorf("the error says %v", err)
		}
	}
}

func FuzzRead(f *testing.F) {
	whole := seal(f, []byte("some text"))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(magic))
	f.Add(seal(f, make([]byte, chunk+1)))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		text, err := unseal(sealed, aKey)
		if err != nil && !errors.Is(err, ErrUnreadable) {
			t.Errorf("%v", err)
		}
		if err == nil && len(sealed) != len(magic)+saltSize+len(text)+16*max(1, (len(text)+chunk-1)/chunk) {
			t.Errorf("%d bytes are read of %d", len(text), len(sealed))
		}
	})
}
