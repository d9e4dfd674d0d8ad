package spawn

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	hookTime = 30 * time.Second
	lockTime = 5 * time.Second // for another helper at the same home
)

// errAgain is when somebody else was at the same home: look again.
var errAgain = errors.New("somebody else is at it")

// makeParent makes a folder on the way to a home. It belongs to whom the folder above
// belongs, as a rule root, and everybody may pass. It gets its name when it is so.
func (a actor) makeParent(f *folder, name string) error {
	err := a.as(f.stat.Uid, f.stat.Gid, func() error {
		if err := unix.Mkdirat(f.fd, stale+name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := open755(f.fd, stale+name); err != nil {
			return err
		}
		return moveIn(f.fd, stale+name, name)
	})
	if err != nil && !quicker(err) {
		return fmt.Errorf("make %s/%s: %w", f.path, name, err)
	}
	return nil
}

// open755 has everybody pass a folder. A link, which somebody may have put there before
// us, is not followed, as chmod would.
func open755(at int, name string) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Fchmod(fd, 0o755)
}

// quicker tells whether an error means that another has made the same just now.
func quicker(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT)
}

// makeHome makes a home, once for all who wait for the same one.
func (w *worker) makeHome(parent *folder, name string, r *Request) error {
	w.mu.Lock()
	if wait, ok := w.making[r.Home]; ok {
		w.mu.Unlock()
		<-wait
		return errAgain
	}
	done := make(chan struct{})
	w.making[r.Home] = done
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.making, r.Home)
		w.mu.Unlock()
		close(done)
	}()
	return w.build(parent, name, r)
}

// build makes a home under another name, and gives it its own when it is whole: one
// that is half made is never used.
func (w *worker) build(parent *folder, name string, r *Request) error {
	site, err := w.site(parent, stale+name, r)
	if err != nil {
		return err
	}
	defer site.close()
	if err := w.furnish(site, r); err != nil {
		return fmt.Errorf("make home %s: %w", r.Home, w.undo(parent, stale+name, r.UID, err))
	}
	err = w.actor.as(parent.stat.Uid, parent.stat.Gid, func() error { return moveIn(parent.fd, stale+name, name) })
	if err == nil {
		return nil
	}
	if err = w.undo(parent, stale+name, r.UID, err); quicker(err) {
		return errAgain // another helper's home is as good
	}
	return fmt.Errorf("make home %s: %w", r.Home, err)
}

// undo takes away what was begun before an error.
func (w *worker) undo(parent *folder, name string, uid uint32, err error) error {
	if left := w.actor.tearDown(parent, name, uid); left != nil && !errors.Is(left, unix.ENOENT) {
		return fmt.Errorf("%w; what was begun is left in %s/%s: %w", err, parent.path, name, left)
	}
	return err
}

// moveIn renames, but never over a home that is there.
func moveIn(fd int, from, to string) error {
	err := unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = unix.Renameat(fd, from, fd, to) // a folder with anything in it is not replaced
	}
	return err
}

// site makes the folder that becomes the home, gives it to the user, and locks it, so
// that another helper knows that somebody is at work.
func (w *worker) site(parent *folder, name string, r *Request) (*folder, error) {
	err := w.actor.as(parent.stat.Uid, parent.stat.Gid, func() error { return unix.Mkdirat(parent.fd, name, 0o700) })
	if errors.Is(err, unix.EEXIST) {
		return nil, w.clear(parent, name, r.UID)
	}
	if err != nil {
		return nil, fmt.Errorf("make home %s: %w", r.Home, err)
	}
	site, err := w.occupy(parent, name, r)
	if errors.Is(err, unix.ENOENT) {
		return nil, errAgain // another helper has taken it for stale
	}
	if err != nil && !errors.Is(err, errAgain) {
		return nil, fmt.Errorf("make home %s: %w", r.Home, w.undo(parent, name, r.UID, err))
	}
	return site, err
}

// occupy gives a new folder to the user, and locks it.
func (w *worker) occupy(parent *folder, name string, r *Request) (*folder, error) {
	f, err := w.actor.enter(parent, name)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if !ours(f, parent, r.UID) {
		return nil, fmt.Errorf("%s has come to belong to uid %d meanwhile", f.path, f.stat.Uid)
	}
	if w.actor.able {
		if err := unix.Fchownat(f.fd, "", int(r.UID), int(r.GID), unix.AT_EMPTY_PATH); err != nil {
			return nil, fmt.Errorf("chown: %w", err)
		}
	}
	f.stat.Uid, f.stat.Gid = r.UID, r.GID
	site, err := w.actor.open(f)
	if err != nil {
		return nil, err
	}
	if unix.Flock(site.fd, unix.LOCK_EX|unix.LOCK_NB) != nil || !w.actor.still(parent, name, f) {
		site.close()
		return nil, errAgain // another helper has taken it for stale
	}
	return site, nil
}

// ours tells whether a folder may be one that a helper has made for a home: it belongs
// to whom the folder above belongs, or already to the user. Another, which somebody has
// put in its place, is neither given away nor emptied.
func ours(f, parent *folder, uid uint32) bool {
	return f.stat.Uid == parent.stat.Uid || f.stat.Uid == uid
}

// clear waits for another helper that makes the same home, or takes away what one has
// left that was killed. Either way one has to look again.
func (w *worker) clear(parent *folder, name string, uid uint32) error {
	f, err := w.actor.enter(parent, name)
	if err != nil {
		return errAgain
	}
	defer f.close()
	lock, err := w.actor.open(f)
	if err != nil {
		return fmt.Errorf("%w: if it stays so, remove what is left of a home that was not finished: %w", errAgain, err)
	}
	defer lock.close()
	if err := lockInTime(lock.fd, lockTime); err != nil {
		return fmt.Errorf("lock %s, which is left of a home that was not finished: %w", f.path, err)
	}
	if !w.actor.still(parent, name, f) {
		return errAgain
	}
	if err := w.actor.tearDown(parent, name, uid); err != nil {
		return fmt.Errorf("%s is left of a home that was not finished: %w", f.path, err)
	}
	return errAgain
}

// lockInTime waits for another helper, but not for ever: whose home it is to be can have
// the lock, too, and keep it.
func lockInTime(fd int, most time.Duration) error {
	for over := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(over) {
			return err
		}
	}
}

// still tells whether a name means the same folder as when it was opened.
func (a actor) still(parent *folder, name string, f *folder) bool {
	now, err := a.enter(parent, name)
	if err != nil {
		return false
	}
	defer now.close()
	return now.stat.Ino == f.stat.Ino && now.stat.Dev == f.stat.Dev
}

// open opens a folder for use, as its owner.
func (a actor) open(f *folder) (*folder, error) {
	fd := -1
	err := a.as(f.stat.Uid, f.stat.Gid, func() (err error) {
		fd, err = unix.Openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return &folder{fd: fd, path: f.path, stat: f.stat}, nil
}

// furnish puts into a new home what belongs there, as its owner.
func (w *worker) furnish(site *folder, r *Request) error {
	c := w.policy.Create
	things, err := skeleton(c.Skeleton)
	if err != nil {
		return err
	}
	if c.Maildir != "" {
		things = append(things, maildir(c.Maildir)...)
	}
	mode := uint32(c.Mode)
	if mode == 0 {
		mode = 0o700
	}
	err = w.actor.as(r.UID, r.GID, func() error {
		for _, t := range things {
			if err := t.put(site.fd); err != nil {
				return err
			}
		}
		return unix.Fchmod(site.fd, mode)
	})
	if err != nil || len(c.Hook) == 0 {
		return err
	}
	return w.hook(site, r)
}

// tearDown takes away a home that was not finished: its content as its owner, the
// folder as the owner of the one above.
func (a actor) tearDown(parent *folder, name string, uid uint32) error {
	f, err := a.enter(parent, name)
	if err != nil {
		return err
	}
	defer f.close()
	if !ours(f, parent, uid) {
		return fmt.Errorf("it belongs to uid %d: nobody here has made it", f.stat.Uid)
	}
	if open, err := a.open(f); err == nil {
		err = a.as(f.stat.Uid, f.stat.Gid, func() error { return empty(open.fd, 0) })
		open.close()
		if err != nil {
			return err
		}
	}
	return a.as(parent.stat.Uid, parent.stat.Gid, func() error {
		return unix.Unlinkat(parent.fd, name, unix.AT_REMOVEDIR)
	})
}
