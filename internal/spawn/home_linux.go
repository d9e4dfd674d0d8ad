package spawn

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A folder is one that is open, to be entered and looked at, not to be read.
type folder struct {
	fd   int
	path string
	stat unix.Stat_t
}

func (f *folder) close() { _ = unix.Close(f.fd) }

const entering = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// openRoot opens a folder beneath which homes are. It is the administrator's word:
// links are followed.
func openRoot(path string) (*folder, error) {
	fd, err := unix.Open(path, entering, 0)
	if err != nil {
		return nil, fmt.Errorf("folder of homes %s: %w: make it, or name another in [local] homes", path, err)
	}
	return looked(fd, path)
}

func looked(fd int, path string) (*folder, error) {
	f := &folder{fd: fd, path: path}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		f.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// enter opens a folder in f. It is one step, and O_NOFOLLOW, so no link is followed.
// Where root may not look the owner of f does.
func (a actor) enter(f *folder, name string) (in *folder, err error) {
	var fd int
	open := func() (err error) {
		fd, err = unix.Openat(f.fd, name, entering|unix.O_NOFOLLOW, 0)
		return err
	}
	if err = open(); errors.Is(err, unix.EACCES) {
		err = a.as(f.stat.Uid, f.stat.Gid, open)
	}
	path := filepath.Join(f.path, name)
	switch {
	case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
		return nil, refuse("%s is a link or no folder: a home, and what leads to it, must be folders", path)
	case errors.Is(err, unix.EACCES):
		return nil, refuse("%s cannot be entered: its parent forbids it", path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return looked(fd, path)
}

// openHome opens the home of a request, which is made if the policy says so.
// Who does not wait for the session any more keeps nobody waiting by a home that is not
// to be had.
func (w *worker) openHome(r *Request, session int) (*folder, error) {
	root, err := w.policy.root(r.Home)
	if err != nil {
		return nil, err
	}
	steps := strings.Split(strings.TrimPrefix(r.Home[len(root):], "/"), "/")
	for n := range tries { // while another helper is at the same home
		if n > 0 && hungUp(session) {
			return nil, fmt.Errorf("home %s: nobody waits for it any more", r.Home)
		}
		time.Sleep(time.Duration(n/3) * time.Millisecond)
		var f *folder
		if f, err = openRoot(root); err != nil {
			return nil, err
		}
		if f, err = w.descend(f, steps, r); !errors.Is(err, errAgain) {
			return f, err
		}
	}
	return nil, fmt.Errorf("home %s: %w", r.Home, err)
}

// tries is how often a home is looked for that another helper makes.
const tries = 30

// descend goes from the root to the home, and closes what it leaves.
func (w *worker) descend(f *folder, steps []string, r *Request) (*folder, error) {
	owner := f.stat.Uid
	for i, name := range steps {
		last := i == len(steps)-1
		next, err := w.actor.enter(f, name)
		if errors.Is(err, unix.ENOENT) {
			next, err = w.missing(f, name, last, r)
		}
		f.close()
		if err != nil {
			return nil, err
		}
		if f = next; !last {
			err = passable(f, owner, r)
		} else {
			err = fit(f, r)
		}
		if err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// missing makes a folder, and opens it, if the policy says so.
func (w *worker) missing(f *folder, name string, last bool, r *Request) (*folder, error) {
	if w.policy.Create == nil {
		return nil, refuse("home %s is missing (there is no %s in %s): make it, or set create_home in [local]", r.Home, name, f.path)
	}
	var err error
	if last {
		err = w.makeHome(f, name, r)
	} else {
		err = w.actor.makeParent(f, name)
	}
	if err != nil {
		return nil, err
	}
	made, err := w.actor.enter(f, name)
	if errors.Is(err, unix.ENOENT) {
		return nil, errAgain // another helper has taken away what it could not finish
	}
	return made, err
}

// passable tells whether a folder between root and home is nobody's who could put
// another home into it: it is root's, the user's own, or his who owns the root.
func passable(f *folder, owner uint32, r *Request) error {
	switch {
	case f.stat.Uid != 0 && f.stat.Uid != owner && f.stat.Uid != r.UID:
		return refuse("%s leads to home %s, but belongs to uid %d: it must be root's", f.path, r.Home, f.stat.Uid)
	case f.stat.Mode&0o002 != 0 && f.stat.Mode&unix.S_ISVTX == 0:
		return refuse("%s leads to home %s, but everybody may write there: chmod o-w", f.path, r.Home)
	}
	return nil
}

// fit tells whether a folder is good as the home of a request.
func fit(f *folder, r *Request) error {
	st := &f.stat
	switch {
	case st.Uid != r.UID:
		return refuse("home %s belongs to uid %d, not to %d: chown it, or correct the account", f.path, st.Uid, r.UID)
	case st.Mode&0o500 != 0o500:
		return refuse("home %s has mode %#o: its owner cannot use it; chmod u+rwx", f.path, st.Mode&0o7777)
	case st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != r.GID:
		return refuse("home %s has mode %#o and group %d: others than its owner and his group %d may write there; chmod go-w", f.path, st.Mode&0o7777, st.Gid, r.GID)
	}
	return nil
}
