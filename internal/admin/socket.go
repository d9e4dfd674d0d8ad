package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"usher/internal/sockfile"
)

// maxPath leaves room in the 107 bytes of a unix socket's name for ".PID" and for
// the private folder.
const maxPath = 107 - len(".4194304") - len("~/s")

// checkPath tells whether a socket can be put at path, and whether one is there.
func checkPath(path string) (found bool, err error) {
	if len(path) > maxPath {
		return false, fmt.Errorf("the admin socket cannot be %s: that is %d bytes, and a unix socket's name has room for %d; choose a shorter admin in [server]", path, len(path), maxPath)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return false, nil //nolint:nilerr // whatever is wrong with the folder, bind will say so
	}
	if info.Mode().Type() != fs.ModeSocket {
		return false, fmt.Errorf("the admin socket cannot be %s: there is a file that is no socket; remove it, or choose another admin in [server]", path)
	}
	return true, nil
}

// own is the name that is this process's alone.
func (s *Server) own() string { return sibling(s.Path, s.pid) }

// private is a name for what others are not to see yet.
func (s *Server) private() string { return s.own() + "~" }

func sibling(path string, pid int) string { return path + "." + strconv.Itoa(pid) }

// siblings are the processes that have a socket beside path, the newest number
// first. What others have put there is none of them.
func siblings(path string) []int {
	entries, _ := os.ReadDir(filepath.Dir(path)) // if it cannot be read nobody can be asked either
	var pids []int
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		pid, err := strconv.Atoi(number)
		if ok && err == nil && pid > 0 && number == strconv.Itoa(pid) && belongs(e, filepath.Dir(path)) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	slices.Reverse(pids)
	return pids
}

// belongs tells whether a file in a folder is root's, ours, or that of whom the
// folder belongs to: everybody else may have planted it.
func belongs(e os.DirEntry, folder string) bool {
	file, err := e.Info()
	if err != nil {
		return false
	}
	dir, err := os.Stat(folder)
	if err != nil {
		return false
	}
	who := owner(file)
	return who == 0 || who == os.Geteuid() || who == owner(dir)
}

func owner(f os.FileInfo) int {
	if st, ok := f.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// bind opens our own socket, also over one that a dead process with our number has left.
func (s *Server) bind() (net.Listener, error) {
	if _, err := MakeFolder(s.Path); err != nil {
		return nil, err
	}
	ln, file, err := sockfile.Listen(s.own(), s.private(), 0o600)
	if err != nil {
		return nil, err
	}
	s.file = file
	return ln, nil
}

// MakeFolder makes the folder of a socket if it is missing, and tells whether it
// was. Start does it; whoever is about to give up root does it before, and gives
// the folder away. Of a longer path nothing is made: it may be a wrong one.
func MakeFolder(path string) (made bool, err error) {
	dir := filepath.Dir(path)
	err = os.Mkdir(dir, 0o755)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return err == nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%w; create %s, or choose another admin in [server]", err, filepath.Dir(dir))
	case errors.Is(err, fs.ErrPermission):
		return false, fmt.Errorf("%w; create it for the user that usher runs as, or choose another admin in [server]", err)
	}
	return false, err
}

// Publish makes Path lead here. Start does it; a process does it again if the
// one that took Path from it has failed. There is no moment without a Path.
func (s *Server) Publish() error {
	link := s.private()
	err := os.Link(s.own(), link)
	if err == nil {
		err = os.Rename(link, s.Path)
		_ = os.Remove(link) // rename does nothing if both are the same file already
	}
	if err != nil {
		return fmt.Errorf("cannot open the admin socket: %w", err)
	}
	return nil
}

// withdraw takes our names away: Path only if it still leads here. What is left
// is the private name, for the last visitor.
func (s *Server) withdraw() error {
	if s.leadsHere(s.Path) {
		s.unpublish()
	}
	if err := os.Rename(s.own(), s.private()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // somebody has tidied up
}

// unpublish takes Path away and looks again: a successor may have taken it in
// between, and gets it back, if not a third has it by then.
func (s *Server) unpublish() {
	aside := s.private()
	if os.Rename(s.Path, aside) != nil {
		return
	}
	if !s.leadsHere(aside) {
		_ = os.Link(aside, s.Path)
	}
	_ = os.Remove(aside)
}

func (s *Server) leadsHere(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && os.SameFile(info, s.file)
}
