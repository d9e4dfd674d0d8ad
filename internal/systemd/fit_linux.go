package systemd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// fit tells whether a descriptor is a TCP socket that listens. Multipath TCP is
// not: half of the socket options do not work on it.
func fit(fd int) error {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch {
	case errors.Is(err, unix.EBADF):
		return errors.New("it is not open")
	case errors.Is(err, unix.ENOTSOCK):
		return errors.New("it is not a socket")
	case err != nil:
		return fmt.Errorf("cannot ask what it is: %w", err)
	case protocol != unix.IPPROTO_TCP:
		return fmt.Errorf("it is not a TCP socket, its protocol has the number %d", protocol)
	}
	listens, err := accepts(fd)
	if err == nil && !listens {
		return errors.New("it does not listen")
	}
	return err
}

// accepts tells whether a socket listens.
func accepts(fd int) (bool, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return n != 0, err
}
