package steward

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is how long the name of a unix socket may be.
const maxPath = 107

// at calls do with a name for path that is short enough. The long way is a descriptor of
// its folder.
func at(path string, do func(name string) error) error {
	if len(path) <= maxPath {
		return do(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// dial goes to the steward that is there.
func dial(path string) (nc *net.UnixConn, err error) {
	err = at(path, func(name string) error {
		nc, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: name, Net: "unixpacket"})
		return err
	})
	if err == nil && !ours(nc) {
		_ = nc.Close()
		return nil, errors.New("the process behind the socket is another user's")
	}
	return nc, err
}

// A child is a steward that this process has started.
type child struct {
	pid   uint64
	ended chan string // how, once
}

// fate is how a child has ended, if it has, or is about to.
func (c *child) fate() string {
	select {
	case how := <-c.ended:
		return how
	case <-time.After(time.Second):
		return "it still runs"
	}
}

// launch starts a steward that listens at path.
func launch(program, path string) (*child, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // nobody answers there any more
		return nil, err
	}
	var ln *net.UnixListener
	err := at(path, func(name string) (err error) {
		ln, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: name, Net: "unixpacket"})
		return err
	})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	defer func() { _ = ln.Close() }()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	f, err := ln.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return run(program, f)
}

// run starts a steward with the one descriptor by which it is told all else. It has no
// terminal, so that it does not end with ours.
func run(program string, told *os.File) (*child, error) {
	cmd := exec.Command(program, "relay")
	cmd.Env = []string{}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "GO") { // what is said to Go's runtime
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", os.Stderr, []*os.File{told}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{uint64(cmd.Process.Pid), make(chan string, 1)}
	go func() { // no zombie
		_ = cmd.Wait()
		c.ended <- cmd.ProcessState.String()
	}()
	return c, nil
}

// launchHeir starts a steward that is to replace another, and returns what that one is to
// be told by.
func launchHeir(program string) (c *child, end int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "predecessor")
	defer func() { _ = theirs.Close() }()
	if c, err = run(program, theirs); err != nil {
		_ = unix.Close(fds[0])
		return nil, -1, err
	}
	return c, fds[0], nil
}
