// Package systemd tells systemd how we are, and takes the sockets that it
// opened. Where systemd did not start us all of it is silent: no sockets, no
// words. What the variables mean stands in sd_listen_fds(3), sd_notify(3) and
// sd_watchdog_enabled(3).
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// A Socket is one that was open when we were started.
type Socket struct {
	// Name is FileDescriptorName= of the socket unit, else the unit's own name.
	// Several sockets may have the same.
	Name string

	// Listener is the socket as systemd made it. net sets its own keepalive of 15
	// seconds on each connection that it accepts from a listener that it did not
	// open itself: who wants another sets it after Accept.
	Listener *net.TCPListener
}

// Sockets takes the sockets that systemd passed to us, in its order; none if
// there are none. The second call finds none: the environment is cleared, so
// that children do not take them for theirs. On an error all are closed: an
// usher without one of its ports is broken. Call it first of all, before anything
// can start a child.
func Sockets() ([]Socket, error) {
	var all []Socket
	var errs []error
	for _, f := range activation.Files(true) {
		ln, err := listener(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, Socket{Name: f.Name(), Listener: ln})
	}
	if len(errs) == 0 {
		return all, nil
	}
	for _, s := range all {
		_ = s.Listener.Close()
	}
	return nil, errors.Join(errs...)
}

// listener takes one descriptor and closes it: net works on a copy.
func listener(f *os.File) (*net.TCPListener, error) {
	defer func() { _ = f.Close() }()
	fd := f.Fd()
	unfit := func(err error) error {
		return fmt.Errorf("systemd passed descriptor %d (%s): %w: a socket unit of usher has only ListenStream= with a port or an address, and Accept=no; with Accept=yes it starts usher serve --inetd PROTOCOL", fd, f.Name(), err)
	}
	if err := fit(int(fd)); err != nil {
		return nil, unfit(err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, unfit(err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, unfit(fmt.Errorf("it is a %T", ln))
	}
	return tcp, nil
}

// Connection takes the one client that systemd has accepted (Accept=yes); nil if there is
// none. It clears the environment as Sockets does.
func Connection() (net.Conn, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	files := activation.Files(true)
	for _, f := range files {
		defer func() { _ = f.Close() }()
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("systemd passed %d descriptors: with Accept=yes there is one client, and with Accept=no usher serve has no --inetd", len(files))
	}
	if listens, err := accepts(int(files[0].Fd())); err != nil || listens {
		return nil, errors.Join(err, errors.New("systemd passed a socket that listens: set Accept=yes in its unit, or start usher serve without --inetd"))
	}
	nc, err := net.FileConn(files[0])
	if err != nil {
		return nil, fmt.Errorf("systemd passed no client's connection: %w", err)
	}
	return nc, nil
}

// ours are the variables that are meant for one process only. Others that begin
// with LISTEN_ may be the administrator's.
var ours = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"}

// ChildEnv is an environment for a process that is to replace us: the same, but
// without what would make it wait for sockets that it does not get, or think that
// the watchdog is not its business.
func ChildEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(ours, name)
	})
}
