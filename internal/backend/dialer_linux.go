package backend

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged is how long a server may leave what it is sent unacknowledged:
// RFC 5482. It is near; one that is silent for so long has crashed.
const unacknowledged = 2 * time.Minute

func setOptions(d *net.Dialer) {
	d.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
		})
		return errors.Join(ctlErr, err)
	}
}
