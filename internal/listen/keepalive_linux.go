package listen

import (
	"errors"
	"net"
	"syscall"
)

// keepAlive asks silent clients whether they are there. On Linux accepted
// sockets have the options of the listening one, so that they are set once.
func keepAlive(lc *net.ListenConfig) {
	lc.KeepAlive = -1 // not again for each connection
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		ctlErr := c.Control(func(fd uintptr) {
			err = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, int(keepAliveAfter.Seconds())),
			)
		})
		return errors.Join(ctlErr, err)
	}
}
