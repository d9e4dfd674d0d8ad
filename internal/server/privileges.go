package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"usher/internal/account/embedded"
	"usher/internal/config"
	"usher/internal/steward"
)

// dropPrivileges becomes the configured user if we are root: whoever talks to
// strangers should be nobody. The state folder becomes that user's.
func (s *Server) dropPrivileges() error {
	u, err := s.nextUser()
	if err != nil {
		return err
	}
	return u.become()
}

// An identity is whom we are to become. The zero value stays who it is.
type identity struct {
	name     string
	uid, gid int
}

// nextUser is who that is, and has what it needs.
func (s *Server) nextUser() (identity, error) {
	cfg := s.house.Load().cfg
	next, err := lookupUser(cfg, s.another)
	if err != nil || next == (identity{}) {
		if err == nil && os.Geteuid() == 0 && cfg.Server.User != "" {
			s.log.Warn("running as root: there is no user to become; create it (useradd --system usher) or set user in [server]", "user", cfg.Server.User)
		}
		return next, err
	}
	if err := errors.Join(s.giveState(next.uid, next.gid), s.giveAdmin(next.uid, next.gid)); err != nil {
		return identity{}, fmt.Errorf("cannot become user %q: %w", next.name, err)
	}
	return next, nil
}

// lookupUser is who that is; nobody, if there is none, and nobody has asked for one. If
// the configuration names no user, and the usual one does not exist, it is another one, if
// there is another.
func lookupUser(cfg *config.Config, another string) (identity, error) {
	name := cfg.Server.User
	if os.Geteuid() != 0 || name == "" {
		return identity{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil && another != "" && !cfg.Has("server.user") {
		name = another
		u, err = user.Lookup(name)
	}
	switch {
	case err == nil:
	case cfg.Has("server.user") || another != "":
		return identity{}, fmt.Errorf("cannot become user %q: %w: create it, or change user in [server]", name, err)
	default:
		return identity{}, nil
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return identity{}, fmt.Errorf("cannot become user %q: %w", name, err)
	}
	return identity{name, uid, gid}, nil
}

// become becomes it.
func (i identity) become() error {
	if i.name == "" {
		return nil
	}
	// The group goes first: afterwards we may not change it any more.
	if err := errors.Join(syscall.Setgroups([]int{i.gid}), syscall.Setgid(i.gid), syscall.Setuid(i.uid)); err != nil {
		return fmt.Errorf("cannot become user %q: %w", i.name, err)
	}
	return nil
}

// giveState gives the state folder, which is made if it is missing, and usher's
// files in it to the user. A folder with other things in it is not usher's own.
func (s *Server) giveState(uid, gid int) error {
	dir := string(s.house.Load().cfg.Server.State)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var give []string
	for _, e := range entries {
		ours := strings.HasPrefix(e.Name(), embedded.File) || strings.HasPrefix(e.Name(), ticketFile) || isCache(e.Name()) || strings.HasPrefix(e.Name(), saltFile)
		if e.Name() == traceFolder && e.IsDir() { // what is in it is whose it was: root's to read
			give = append(give, filepath.Join(dir, traceFolder))
			continue
		}
		if e.Name() == steward.File && e.Type() == fs.ModeSocket {
			give = append(give, filepath.Join(dir, steward.File))
			continue
		}
		if ours && vanished(e) { // another process that comes or goes has files for a moment
			continue
		}
		if !ours || !alone(e) {
			return s.mustOwn(dir, uid, e.Name())
		}
		give = append(give, filepath.Join(dir, e.Name()))
	}
	for _, file := range append(give, dir) { // the folder last: root without CAP_DAC_OVERRIDE could not enter it afterwards
		if err := os.Lchown(file, uid, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func vanished(e os.DirEntry) bool {
	_, err := e.Info()
	return errors.Is(err, fs.ErrNotExist)
}

// alone tells whether a file has no other name. The user that usher was before
// may have given one of ours to somebody else's file, to have it.
func alone(e os.DirEntry) bool {
	info, err := e.Info()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink == 1
}

// mustOwn is for a folder that we do not touch: it must be the user's already.
func (s *Server) mustOwn(dir string, uid int, found string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid {
		return nil
	}
	return fmt.Errorf("state folder %s holds %q, which is not usher's: name a folder of its own in [server] state, or chown it", dir, found)
}
