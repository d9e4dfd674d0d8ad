// Package stdio takes what another program has opened for this process and left on its
// standard descriptors: a client that inetd has accepted, a port that inetd shares, the
// pipes or the terminal of somebody who came by ssh. Take is the way in.
//
// What is given stands on descriptors that everything else in a process writes to: after
// Take they lead to /dev/null where they led to the client, so that no stray word, not
// even that of a crash, reaches it.
package stdio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Given is what there was on descriptor 0: one of the three.
type Given struct {
	Port   *net.TCPListener // a port that is listened on: inetd's wait
	Client net.Conn         // a client's connection, in both directions: inetd's nowait
	Pipes  *Pipes           // two ways, or a terminal: they are to be pumped

	// Quiet says that standard error led to the client: nothing can be logged there.
	Quiet bool
}

// Pipes are a client that has no socket, or one that must be left as it is.
type Pipes struct {
	In  io.ReadCloser
	Out io.WriteCloser
}

// Take takes the descriptors 0, 1 and 2. Call it before anything is logged.
func Take() (g Given, err error) {
	g.Quiet = isSocket(0) && sameFile(0, 2)
	in, out, err := moved(g.Quiet)
	if err != nil {
		return g, err
	}
	switch {
	case isPort(in):
		_ = out.Close()
		g.Port, err = port(in)
	case isStream(in) && sameSocket(in, out):
		_ = out.Close()
		g.Client, err = Connection(in)
	default:
		g.Pipes = &Pipes{In: in, Out: out}
	}
	return g, err
}

// moved takes the descriptors of the client to other numbers, and puts /dev/null in their
// place.
func moved(quiet bool) (in, out *os.File, err error) {
	if in, err = copied(0, "stdin"); err != nil {
		return nil, nil, err
	}
	if out, err = copied(1, "stdout"); err != nil {
		return nil, nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = null.Close() }()
	errs := []error{unix.Dup2(int(null.Fd()), 0), unix.Dup2(int(null.Fd()), 1)}
	if quiet {
		errs = append(errs, unix.Dup2(int(null.Fd()), 2))
	}
	return in, out, errors.Join(errs...)
}

func copied(fd int, name string) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not open: usher must be started by inetd, ssh or the like: %w", fd, err)
	}
	return os.NewFile(uintptr(n), name), nil
}

// Connection makes a connection of a file that is one, and closes the file.
func Connection(f *os.File) (net.Conn, error) {
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("what usher was started with is no client's connection: %w", err)
	}
	return nc, nil
}

func port(f *os.File) (*net.TCPListener, error) {
	defer func() { _ = f.Close() }()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor 0 listens, but cannot be used: %w", err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("descriptor 0 listens, but is a %T: usher serves TCP ports", ln)
	}
	return tcp, nil
}

func option(fd int, name int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, name) }

func isSocket(fd int) bool { _, err := option(fd, unix.SO_TYPE); return err == nil }

func isPort(f *os.File) bool {
	listens, err := option(int(f.Fd()), unix.SO_ACCEPTCONN)
	return err == nil && listens != 0
}

// isStream tells whether it is a connected stream.
func isStream(f *os.File) bool {
	kind, err := option(int(f.Fd()), unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return false
	}
	_, err = unix.Getpeername(int(f.Fd()))
	return err == nil
}

func sameSocket(a, b *os.File) bool { return sameFile(int(a.Fd()), int(b.Fd())) }

func sameFile(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// Pump passes bytes between the pipes and a connection until both ways, or the one from
// the connection, are over. It closes all of them.
func (p *Pipes) Pump(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	go p.forward(nc)
	_, _ = io.Copy(p.Out, nc)
	_ = p.Out.Close()
	_ = p.In.Close()
}

// forward ends with the pipe, or with the connection.
func (p *Pipes) forward(nc net.Conn) {
	_, _ = io.Copy(nc, p.In)
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Both is a connection as pipes, for those who must not give it away.
func Both(nc net.Conn) *Pipes { return &Pipes{In: nc, Out: nc} }

// Pair makes a connection of pipes, for those who need one, and pumps until it is over.
func (p *Pipes) Pair() (client net.Conn, pump func(), err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	near, nearErr := Connection(os.NewFile(uintptr(fds[0]), "client"))
	far, farErr := Connection(os.NewFile(uintptr(fds[1]), "pipes"))
	if err := errors.Join(nearErr, farErr); err != nil {
		return nil, nil, err
	}
	return near, func() { p.Pump(far) }, nil
}
