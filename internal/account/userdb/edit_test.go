package userdb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"usher/internal/account"
	"usher/internal/need"
)

const sample = "# first\n\nbob\tx=1|y|y=2||z=3\r\n  not a record\nann\tx=1\n#ann\tx=0\nlast\tx=1"

func TestAChangeLeavesTheRestByteForByte(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	for _, c := range []struct {
		change    func() error
		old, want string
	}{
		{func() error { return Set(t.Context(), path, "ann", Field{"x", "2"}, Field{"v", "3"}) }, "ann\tx=1", "ann\tx=2|v=3"},
		{func() error { return Set(t.Context(), path, "bob", Field{"y", "4"}) }, "x=1|y|y=2||z=3", "x=1|y=4||z=3"},
		{func() error { return Set(t.Context(), path, "last", Field{"x", ""}) }, "last\tx=1", "last\tx=\n"},
		{func() error { return Set(t.Context(), path, "new", Field{"options", "a=b,c=d"}) }, "last\tx=1", "last\tx=1\nnew\toptions=a=b,c=d\n"},
		{func() error { return Unset(t.Context(), path, "bob", "y", "none") }, "x=1|y|y=2||z=3", "x=1||z=3"},
		{func() error { return Unset(t.Context(), path, "ann", "x") }, "ann\tx=1", "ann\t"},
		{func() error { return Unset(t.Context(), path, "ann", "none") }, "", ""},
		{func() error { return Delete(t.Context(), path, "bob") }, "bob\tx=1|y|y=2||z=3\r\n", ""},
		{func() error { return Delete(t.Context(), path, "last") }, "last\tx=1", ""},
	} {
		write(t, path, sample)
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(sample, c.old, c.want, 1); read(t, path) != want {
			t.Errorf("%q, want %q", read(t, path), want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".tmp*")); left != nil {
		t.Errorf("it leaves %q", left)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatCannotBeChangedStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	text := "ann\tx=1\nbob\tx=1\nann\tx=2\n"
	write(t, path, text)
	for what, c := range map[string]struct{ err, want error }{
		"unset of nobody": {Unset(t.Context(), path, "cy", "x"), account.ErrUnknown},
		"del of nobody":   {Delete(t.Context(), path, "cy"), account.ErrUnknown},
		"set of two":      {Set(t.Context(), path, "ann", Field{"x", "3"}), ErrTwice},
		"unset of two":    {Unset(t.Context(), path, "ann", "x"), ErrTwice},
		"no file":         {Delete(t.Context(), path+"2", "ann"), os.ErrNotExist},
		"no folder":       {Set(t.Context(), "/nowhere/userdb", "ann", Field{"x", "3"}), os.ErrNotExist},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if _, err := Show(path, "cy"); !errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
	for _, user := range []string{"", "#ann", "a|b", "a\tb", "a\nb", " ann", "ann ", "\xff", strings.Repeat("x", 600)} {
		invalid(t, user, Set(t.Context(), path, user, Field{"x", "3"}))
	}
	for _, f := range []Field{{"", "3"}, {"1x", ""}, {"_", "x"}, {"-x", ""}, {"a b", ""}, {"a=b", ""}, {"a|b", ""}, {"x", "a|b"}, {"x", "a\tb"}, {"x", "a\nb"}, {"x", "a\rb"}, {"x", strings.Repeat("x", 1<<16)}} {
		invalid(t, fmt.Sprintf("%.20q", f), Set(t.Context(), path, "bob", f))
	}
	if read(t, path) != text {
		t.Errorf("it is now %q", read(t, path))
	}
	if err := Delete(t.Context(), path, "ann"); err != nil || read(t, path) != "bob\tx=1\n" {
		t.Errorf("%v: %q", err, read(t, path))
	}
}

func invalid(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.As(err, new(Invalid)) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAFileKeepsItsOwnerItsModeAndItsLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(dir, "userdb")
	write(t, path, "ann\tx=1\n")
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	owner := uint32(os.Getuid())
	if owner == 0 {
		owner = 12345
		if err := os.Chown(path, 12345, 12346); err != nil {
			t.Fatal(err)
		}
	}
	if err := Set(t.Context(), link, "ann", Field{"x", "2"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o640 || info.Sys().(*syscall.Stat_t).Uid != owner || read(t, link) != "ann\tx=2\n" {
		t.Errorf("%v, %+v", err, info)
	}
	if to, err := os.Readlink(link); err != nil || to != "real" {
		t.Errorf("the link: %q, %v", to, err)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := Set(t.Context(), fresh, "ann", Field{"x", "2"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new file: %v, %v", info.Mode(), err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := Set(t.Context(), filepath.Join(dir, "dangling"), "ann", Field{"x", "2"}); err == nil {
		t.Error("a link that leads nowhere was replaced")
	}
	if err := Set(t.Context(), dir, "ann", Field{"x", "2"}); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Error(err)
	}
}

// Fifty programs change the file at once, half of them Courier's: nothing is lost, and
// who reads it meanwhile finds each record as it was or as it is.
func TestChangesAtTheSameTimeAllArrive(t *testing.T) {
	t.Parallel()
	courier, env := need.CourierPlace(t)
	path := filepath.Join(courier, "etc/courier/userdb")
	write(t, path, "# users\nboth\tx=1\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const each = 25
	var all sync.WaitGroup
	for i := range each {
		all.Go(func() {
			c := exec.Command(self, "both", fmt.Sprintf("u%d", i), "1")
			c.Env = append(os.Environ(), "USERDB_TEST_SET="+path)
			run(t, c)
		})
		all.Go(func() {
			c := exec.Command("usr/sbin/userdb", "both", "set", fmt.Sprintf("c%d=1", i))
			c.Dir, c.Env = courier, env
			run(t, c)
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if fields, err := Show(path, "both"); err != nil || len(fields) == 0 {
			t.Errorf("%v, %v", fields, err)
		}
	}
	fields, err := Show(path, "both")
	if err != nil || len(fields) != 1+2*each {
		t.Errorf("%d fields, %v: %s", len(fields), err, read(t, path))
	}
	if !strings.HasPrefix(read(t, path), "# users\n") {
		t.Error("the comment has gone")
	}
}

func run(t *testing.T, c *exec.Cmd) string {
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v\n%s", c.Args, err, out)
	}
	return string(out)
}

// A change that was killed in the middle leaves a part of a file, which is in nobody's
// way.
func TestWhatAKilledChangeLeavesIsInNobodysWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	write(t, path, "ann\tx=1\n")
	write(t, beside(path, ".tmp."), "an")
	if err := Set(t.Context(), path, "ann", Field{"x", "2"}); err != nil || read(t, path) != "ann\tx=2\n" {
		t.Errorf("%v: %q", err, read(t, path))
	}
}

func TestAFrozenProgramDoesNotHoldAChangeUpForEver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "userdb")
	write(t, path, "ann\tx=1\n")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := withTimeout(t)
	defer cancel()
	if err := Set(ctx, path, "ann", Field{"x", "2"}); err == nil || !strings.Contains(err.Error(), "another program has locked") {
		t.Error(err)
	}
	unlock()
	if err := Set(t.Context(), path, "ann", Field{"x", "2"}); err != nil {
		t.Error(err)
	}
}

func FuzzSet(f *testing.F) {
	f.Add(sample, "ann", "x", "2")
	f.Add(sample, "last", "y", "2")
	f.Add("ann\r\nann\tx", "ann", "x", "")
	f.Fuzz(func(t *testing.T, text, user, name, value string) {
		if checkUser(user) != nil || checkFields([]Field{{name, value}}) != nil {
			return
		}
		after, err := set(text, user, []Field{{name, value}})
		if errors.Is(err, ErrTwice) || errors.As(err, new(Invalid)) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at, err := only(after, user)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, after, err)
		}
		if got, ok := parse(at.line).get(name); got != value || !ok {
			t.Errorf("%q became %q", text, after)
		}
		if rest, err := del(after, user); err != nil || !strings.HasPrefix(others(text, user), rest) && strings.TrimSuffix(rest, "\n") != others(text, user) {
			t.Errorf("%q became %q: what is beside has changed, %v", text, after, err)
		}
	})
}

// others is what stands in a text of others.
func others(text, user string) string {
	if rest, err := del(text, user); err == nil {
		return rest
	}
	return text
}
