package spawn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The bounds of a skeleton, which is read into memory.
const (
	maxThings = 500
	maxBytes  = 4 << 20
	maxDepth  = 32
)

// A thing is a file or a folder of a new home.
type thing struct {
	name string // relative
	dir  bool
	mode uint32
	data []byte
}

// put makes it in a folder. It must not be there yet: nobody but the owner could have
// put something there, but a link is not followed even then.
func (t thing) put(at int) error {
	if t.dir {
		if err := unix.Mkdirat(at, t.name, 0o700); err != nil && (!errors.Is(err, unix.EEXIST) || !isDir(at, t.name)) {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		return unix.Fchmodat(at, t.name, t.mode|0o700, 0)
	}
	fd, err := unix.Openat(at, t.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	err = writeAll(fd, t.data)
	if err == nil {
		err = unix.Fchmod(fd, t.mode)
	}
	if closed := unix.Close(fd); err == nil {
		err = closed // a full disk may show only now, on NFS
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

func isDir(at int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// maildir is what a maildir is made of.
func maildir(name string) []thing {
	var all []thing
	for dir := name; dir != "."; dir = filepath.Dir(dir) {
		all = append([]thing{{name: dir, dir: true}}, all...)
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		all = append(all, thing{name: filepath.Join(name, sub), dir: true})
	}
	return all
}

// skeleton reads a folder that new homes are copies of. Only plain files and folders
// are copied, without setuid, setgid and sticky bits.
func skeleton(dir string) (all []thing, err error) {
	if dir == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(dir) // what has been checked is what is read
	if err != nil {
		return nil, fmt.Errorf("skeleton: %w", err)
	}
	defer func() { _ = root.Close() }()
	size := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		t, err := copied(root, name, d, maxBytes-size)
		size += len(t.data)
		all = append(all, t)
		if len(all) > maxThings {
			err = fmt.Errorf("more than %d files", maxThings)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("skeleton %s: %w", dir, err)
	}
	return all, nil
}

// copied reads one file or folder of a skeleton.
func copied(root *os.Root, name string, d fs.DirEntry, room int) (thing, error) {
	info, err := d.Info()
	if err != nil {
		return thing{}, err
	}
	t := thing{name: name, dir: d.IsDir(), mode: uint32(info.Mode().Perm() &^ 0o002)}
	if t.dir {
		return t, nil
	}
	if !info.Mode().IsRegular() {
		return thing{}, fmt.Errorf("%s is a link or a device: only files and folders are copied", name)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return thing{}, err
	}
	defer func() { _ = f.Close() }()
	t.data, err = io.ReadAll(io.LimitReader(f, int64(room)+1))
	if err == nil && len(t.data) > room {
		err = fmt.Errorf("more than %d bytes in all", maxBytes)
	}
	return t, err
}

// empty removes what is in a folder, and follows no link. However much there is, it
// has so many names at a time.
func empty(fd, depth int) error {
	if depth > maxDepth {
		return errors.New("too deep to be removed")
	}
	for b := make([]byte, 8<<10); ; {
		names, err := someEntries(fd, b)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			one := unix.Unlinkat(fd, name, 0)
			if errors.Is(one, unix.EISDIR) {
				one = emptyDir(fd, name, depth)
			}
			err = errors.Join(err, one)
		}
		if err != nil {
			return err
		}
	}
}

func emptyDir(fd int, name string, depth int) error {
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = empty(sub, depth+1)
	_ = unix.Close(sub)
	return errors.Join(err, unix.Unlinkat(fd, name, unix.AT_REMOVEDIR))
}

// someEntries are the first names in a folder, none if it is empty.
func someEntries(fd int, b []byte) (names []string, err error) {
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		return nil, err
	}
	for len(names) == 0 { // "." and ".." are none
		n, err := unix.ReadDirent(fd, b)
		if err != nil || n == 0 {
			return nil, err
		}
		_, _, names = unix.ParseDirent(b[:n], -1, names)
	}
	return names, nil
}
