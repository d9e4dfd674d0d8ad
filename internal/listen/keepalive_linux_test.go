package listen_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"usher/internal/listen"
)

// A telephone that vanishes does not keep its session for ever, whoever has opened
// the port.
func TestAcceptedClientsAreAskedWhetherTheyAreThere(t *testing.T) {
	own, err := listen.Own(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // as systemd opens it
	others, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, ln := range map[string]net.Listener{"own": own, "inherited": listen.Inherit(others.(*net.TCPListener))} {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = ln.Close() }()
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = nc.Close() }()
			for _, o := range []struct {
				name               string
				level, opt, wanted int
			}{
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120},
				{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 600_000},
			} {
				if got := option(t, nc, o.level, o.opt); got != o.wanted {
					t.Errorf("%s is %d, want %d", o.name, got, o.wanted)
				}
			}
		})
	}
}

func option(t *testing.T, nc net.Conn, level, opt int) (value int) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, opt) })
	if err != nil {
		t.Fatal(err)
	}
	return value
}
