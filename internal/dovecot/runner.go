package dovecot

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// A runner is whom Dovecot runs as: never root, who may not be the owner of mail.
type runner struct {
	name, group string
	uid, gid    uint32
	other       bool // not who runs the test
}

func chooseRunner() (runner, error) {
	u, err := user.Current()
	other := os.Geteuid() == 0
	if other {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return runner{}, err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return runner{}, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return runner{}, fmt.Errorf("uid of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return runner{}, fmt.Errorf("gid of %s: %w", u.Username, err)
	}
	return runner{name: u.Username, group: g.Name, uid: uint32(uid), gid: uint32(gid), other: other}, nil
}

func (r runner) credential() *syscall.Credential {
	if !r.other {
		return nil
	}
	return &syscall.Credential{Uid: r.uid, Gid: r.gid}
}

// give makes a file the server's own.
func (s *Server) give(path string) error {
	if !s.user.other {
		return nil
	}
	return os.Chown(path, int(s.user.uid), int(s.user.gid))
}

func (s *Server) giveAll() error {
	return filepath.WalkDir(s.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return s.give(path)
	})
}
