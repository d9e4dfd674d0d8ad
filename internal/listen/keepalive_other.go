//go:build !linux

package listen

import (
	"net"
	"syscall"
)

func keepAlive(lc *net.ListenConfig) { lc.KeepAlive = keepAliveAfter }

func setOptions(syscall.RawConn) error { return nil }
