//go:build unix

package relay

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FromDescriptor returns the connection behind a socket that was taken out of an
// engine, here or in another process, and owns it from here on. The socket must not
// block. It stays as it is: net.FileConn would set its keepalive anew, to 15 seconds.
func FromDescriptor(fd int) net.Conn { return &descriptor{fd: fd} }

// descriptor is a connection of which only the descriptor is known. Go's poller hears of
// it when somebody reads or writes: most go from one engine to another.
type descriptor struct {
	mu   sync.Mutex
	fd   int      // -1: it is the file's, somebody else's or closed
	file *os.File // nil: nobody has used it yet
}

// DescriptorsIn returns the descriptors that came beside a message on a unix socket, which
// are the caller's: none, if that makes no sense.
func DescriptorsIn(beside []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(beside)
	for i := range messages {
		rights, _ := unix.ParseUnixRights(&messages[i])
		fds = append(fds, rights...)
	}
	return fds
}

// give gives the descriptor away, if nobody has used the connection.
func (d *descriptor) give() (fd int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fd, d.fd = d.fd, -1
	return fd, fd >= 0
}

// used is the connection for whom wants to use it.
func (d *descriptor) used() *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		d.file, d.fd = os.NewFile(uintptr(d.fd), "session"), -1
	}
	return d.file // its methods say that nil is invalid
}

// Read implements net.Conn.
func (d *descriptor) Read(b []byte) (int, error) { return d.used().Read(b) }

// Write implements net.Conn.
func (d *descriptor) Write(b []byte) (int, error) { return d.used().Write(b) }

// SetDeadline implements net.Conn.
func (d *descriptor) SetDeadline(t time.Time) error { return d.used().SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (d *descriptor) SetReadDeadline(t time.Time) error { return d.used().SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (d *descriptor) SetWriteDeadline(t time.Time) error { return d.used().SetWriteDeadline(t) }

// SyscallConn implements syscall.Conn.
func (d *descriptor) SyscallConn() (syscall.RawConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		return unused{d}, nil
	}
	return d.file.SyscallConn()
}

// Close implements net.Conn.
func (d *descriptor) Close() error {
	if fd, ok := d.give(); ok {
		return syscall.Close(fd)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return net.ErrClosed
	}
	return d.file.Close()
}

// LocalAddr implements net.Conn.
func (d *descriptor) LocalAddr() net.Addr { return unknownAddr{} }

// RemoteAddr implements net.Conn.
func (d *descriptor) RemoteAddr() net.Addr { return unknownAddr{} }

// CloseWrite says that no more will come.
func (d *descriptor) CloseWrite() error {
	raw, err := d.SyscallConn()
	if err != nil {
		return fmt.Errorf("shut a released connection down: %w", err)
	}
	shut := error(nil)
	if err := raw.Control(func(fd uintptr) { shut = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); err != nil {
		return err
	}
	return shut
}

// unused is the raw side of a descriptor that Go's poller does not know.
type unused struct{ d *descriptor }

// Control implements syscall.RawConn.
func (u unused) Control(do func(fd uintptr)) error {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	if u.d.fd < 0 {
		return net.ErrClosed
	}
	do(uintptr(u.d.fd))
	return nil
}

// Read implements syscall.RawConn.
func (unused) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write implements syscall.RawConn.
func (unused) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// unknownAddr is the address of a descriptor: nobody has asked for it.
type unknownAddr struct{}

// Network implements net.Addr.
func (unknownAddr) Network() string { return "unknown" }

func (unknownAddr) String() string { return "unknown" }
