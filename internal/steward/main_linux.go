package steward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"usher/internal/thrift"
)

// inherited is the descriptor by which a steward reaches what it is told: the socket that
// ushers come to, or a connection to the steward that it replaces.
const inherited = 3

// Main is `usher relay`. It returns the exit status.
func Main(args []string, build string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usher relay: usher serve starts it, with [server] relay_process = true: it takes no arguments")
		return 2
	}
	s, err := open(build)
	if err != nil {
		fmt.Fprintln(os.Stderr, "usher relay:", err)
		return 1
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	term, stop := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(term, syscall.SIGTERM)
	go func() { <-term; close(stop) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go thrift.Govern(ctx, runtime.GOMAXPROCS(0))
	go thrift.TidyUp(ctx)
	s.Run(stop)
	return 0
}

// open makes a steward of what it was given, and gives all else up.
func open(build string) (*Steward, error) {
	kind, err := unix.GetsockoptInt(inherited, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, errors.New("it is started by usher serve, with a socket that is not here")
	}
	unix.CloseOnExec(inherited)
	if err := errors.Join(closeOthers(), harden()); err != nil {
		return nil, err
	}
	if kind == 0 {
		nc, err := connOf(inherited, "predecessor")
		if err != nil {
			return nil, err
		}
		return Succeed(nc, build)
	}
	f := os.NewFile(inherited, "relay socket")
	defer func() { _ = f.Close() }()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("descriptor %d is a %T, no unix socket", inherited, ln)
	}
	return New(ul, build)
}
