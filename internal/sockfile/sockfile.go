// Package sockfile makes unix sockets that have their mode before they have their name:
// between bind and chmod anybody could connect, and the umask belongs to the whole process.
package sockfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// Listen makes a socket with a mode, in place of whatever stands at path. room is a name in
// the same folder for what others are not to see yet; what is left there goes away. The
// file is for os.SameFile; closing the listener does not remove it.
func Listen(path, room string, mode fs.FileMode) (ln *net.UnixListener, file os.FileInfo, err error) {
	if err := errors.Join(os.RemoveAll(room), os.Mkdir(room, 0o700)); err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.RemoveAll(room) }()
	made := filepath.Join(room, "s")
	if ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"}); err != nil {
		return nil, nil, err
	}
	ln.SetUnlinkOnClose(false) // it will have another name
	err = os.Chmod(made, mode)
	if err == nil {
		file, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	return ln, file, nil
}
