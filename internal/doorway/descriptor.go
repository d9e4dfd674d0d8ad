package doorway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// receive reads the first bytes of a message and the descriptors that come with them.
func receive(nc *net.UnixConn, b []byte) (n int, fds []int, err error) {
	beside := make([]byte, unix.CmsgSpace(4*4))
	n, nb, flags, _, err := nc.ReadMsgUnix(b, beside)
	msgs, _ := unix.ParseSocketControlMessage(beside[:nb])
	for _, m := range msgs {
		rights, _ := unix.ParseUnixRights(&m)
		fds = append(fds, rights...)
	}
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = errors.New("too many descriptors, or no room for them here")
	}
	return n, fds, err
}

func drop(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// connection makes a connection of a descriptor that came, if it can be a client's: a
// stream that is connected. The descriptor is closed in any case.
func connection(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "client")
	defer func() { _ = f.Close() }()
	if err := fits(fd); err != nil {
		return nil, err
	}
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("it cannot be used: %w", err)
	}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return nc, nil
	}
	_ = nc.Close()
	return nil, fmt.Errorf("it is a %T", nc)
}

func fits(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil:
		return fmt.Errorf("it is no socket: %w", err)
	case kind != unix.SOCK_STREAM:
		return errors.New("it is no stream")
	}
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens != 0 {
		return errors.New("it listens: usher takes clients here, not ports")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return fmt.Errorf("nobody is connected to it: %w", err)
	}
	return nil
}

// with calls do with the descriptor of a connection.
func with(nc net.Conn, do func(fd int) error) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a %T has no descriptor", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(ctlErr, err)
}
