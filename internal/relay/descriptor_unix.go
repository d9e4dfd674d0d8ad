//go:build unix

package relay

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// FromDescriptor returns the connection behind a socket that was taken out of an
// engine, here or in another process, and owns it from here on. The socket must not
// block. It stays as it is: net.FileConn would set its keepalive anew, to 15 seconds.
func FromDescriptor(fd int) net.Conn {
	return descriptor{os.NewFile(uintptr(fd), "session")}
}

// descriptor is a connection of which only the descriptor is known.
type descriptor struct{ *os.File }

// LocalAddr implements net.Conn.
func (d descriptor) LocalAddr() net.Addr { return unknownAddr{} }

// RemoteAddr implements net.Conn.
func (d descriptor) RemoteAddr() net.Addr { return unknownAddr{} }

// CloseWrite says that no more will come.
func (d descriptor) CloseWrite() error {
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

// unknownAddr is the address of a descriptor: nobody has asked for it.
type unknownAddr struct{}

// Network implements net.Addr.
func (unknownAddr) Network() string { return "unknown" }

func (unknownAddr) String() string { return "unknown" }
