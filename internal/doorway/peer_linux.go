package doorway

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user at the other end, as the system says: who has connected, or who
// listens.
func peer(nc *net.UnixConn) (uid uint32, err error) {
	err = with(nc, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = cred.Uid
		}
		return err
	})
	return uid, err
}

// hangup waits until the other end of a socket is closed.
func hangup(fd int) {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(p, -1); err == nil || err != unix.EINTR {
			return
		}
	}
}
