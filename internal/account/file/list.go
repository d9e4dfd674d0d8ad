package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	mostFiles = 100_000
	deepest   = 16 // folders in folders: symbolic links can make a circle
)

// A one is a file as it was found on the disk.
type one struct {
	path string
	info fs.FileInfo
}

// list finds the files: that of the path, or all in the folder.
func (l *Lines) list() ([]one, error) {
	info, err := os.Stat(l.path)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		return []one{{l.path, info}}, nil
	case !info.IsDir() || l.format.Plain:
		return nil, fmt.Errorf("%s %w", l.path, ErrNoFile)
	}
	files, err := listFolder(nil, l.path, 0)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no file is in the folder %s", l.path) // rather not mounted than meant
	}
	return files, err
}

// listFolder adds the files of a folder and of those in it, in the order of their
// names.
func listFolder(files []one, folder string, depth int) ([]one, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	if depth > deepest || len(files)+len(entries) > mostFiles {
		return nil, fmt.Errorf("%s: there are more than %d files, or folders more than %d deep", folder, mostFiles, deepest)
	}
	for _, e := range entries {
		if isLeftOver(e.Name()) {
			continue
		}
		if files, err = listEntry(files, filepath.Join(folder, e.Name()), depth); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// listEntry adds what a path in a folder leads to. What is neither a file nor a folder,
// such as the link to /dev/null of makeuserdb(8), holds nothing.
func listEntry(files []one, path string, depth int) ([]one, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it has just gone, or the link leads nowhere
	case err != nil:
		return nil, err
	case info.IsDir():
		return listFolder(files, path, depth+1)
	case info.Mode().IsRegular():
		files = append(files, one{path, info})
	}
	return files, nil
}

// isLeftOver tells whether a file is not meant to be read: a hidden one, such as a
// lock, or a copy that an editor or a package manager has left.
func isLeftOver(name string) bool {
	ends := func(end string) bool { return strings.HasSuffix(name, end) }
	return name[0] == '.' || name[0] == '#' || ends("~") || ends(".lock") || ends(".bak") ||
		strings.Contains(name, ".dpkg-") || ends(".rpmsave") || ends(".rpmnew")
}

// same tells whether two lists are of the same files, unchanged.
func same(a, b []one) bool { return slices.EqualFunc(a, b, one.same) }

func (f one) same(g one) bool {
	return f.path == g.path && os.SameFile(f.info, g.info) && f.info.Mode() == g.info.Mode() &&
		f.info.Size() == g.info.Size() && f.info.ModTime().Equal(g.info.ModTime())
}

// isFresh tells whether a file was written so shortly before that the file system may
// take another writing for the same. A time to come is from another clock and says
// nothing.
func (f one) isFresh(now time.Time) bool {
	age := now.Sub(f.info.ModTime())
	return age >= 0 && age < quiet
}

// restless tells whether files are rather changing than changed, so that it is better
// to look again soon: one has just been written, or one has gone, perhaps only until
// an editor has put the new one there. since is for how long they have been other
// files than before.
func restless(files, before []one, now time.Time, since time.Duration) bool {
	gone := make(map[string]one, len(before))
	for _, f := range before {
		gone[f.path] = f
	}
	for _, f := range files {
		old, was := gone[f.path]
		if changed := !was || !f.same(old); changed && f.isFresh(now) {
			return since < waitMost
		}
		delete(gone, f.path)
	}
	return len(gone) > 0 && since < quiet
}
