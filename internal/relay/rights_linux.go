package relay

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// A unix socket carries descriptors, also where nobody asks for them. Whoever reads it
// with read(2) closes those in it, and the peer can send one whose closing takes as long
// as he likes: a socket that lingers. The owner of a mailbox has the program that serves
// it in his hands; in a loop all sessions would wait for him. So a kernel that can do so
// (Linux 6.16) is told to refuse descriptors; else they are taken out, closed elsewhere,
// and the pair ends: nobody sends any in good faith.

// maxRights is how many descriptors one message can bring: SCM_MAX_FD.
const maxRights = 253

// errRights ends a leg whose peer sends descriptors.
var errRights = errors.New("the peer sends descriptors")

// carriesRights tells whether descriptors may come over a socket.
func carriesRights(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) != nil
}

// readRights is read(2) for a socket over which descriptors may come.
func readRights(fd int, b []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(maxRights*4))
	n, oobn, _, _, err := unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err == nil && oobn > 0 {
		go closeRights(oob[:oobn])
		return 0, errRights
	}
	return n, err
}

// closeRights is the goroutine that closes what has come; it may take long.
func closeRights(oob []byte) {
	for _, fd := range DescriptorsIn(oob) {
		_ = unix.Close(fd)
	}
}

// readSocket reads from the socket without waiting.
func (g *leg) readSocket(b []byte) (n int, err error) {
	for {
		if g.rights {
			n, err = readRights(int(g.fd), b)
		} else {
			n, err = unix.Read(int(g.fd), b)
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, errAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
