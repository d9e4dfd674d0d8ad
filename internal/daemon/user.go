package daemon

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// credential is whom the server runs as; nil: who runs the test.
func (d *Daemon) credential() *syscall.Credential {
	d.t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(d.User)
	if err != nil {
		d.t.Fatalf("whom %s runs as: %v", d.Name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		d.t.Fatalf("uid of %s: %v", d.User, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		d.t.Fatalf("gid of %s: %v", d.User, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Give makes a file the server's own.
func (d *Daemon) Give(path string) error {
	c := d.credential()
	if c == nil {
		return nil
	}
	return os.Chown(path, int(c.Uid), int(c.Gid))
}

// Put copies a file into the folder, for the server's eyes only.
func (d *Daemon) Put(name, from string) (path string) {
	d.t.Helper()
	path = d.Path(name)
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err == nil {
		err = d.Give(path)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return path
}
