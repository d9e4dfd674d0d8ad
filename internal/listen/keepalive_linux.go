package listen

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepAlive asks silent clients whether they are there, and bounds how long one
// may leave what it is sent unacknowledged. On Linux accepted sockets have the
// options of the listening one, so that they are set once.
func keepAlive(lc *net.ListenConfig) {
	lc.KeepAlive = -1 // not again for each connection
	lc.Control = func(_, _ string, c syscall.RawConn) error { return setOptions(c) }
}

func setOptions(c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveAfter.Seconds())),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds())),
		)
	})
	return errors.Join(ctlErr, err)
}
