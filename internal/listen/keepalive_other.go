//go:build !linux

package listen

import "net"

// keepAlive asks silent clients whether they are there.
func keepAlive(lc *net.ListenConfig) { lc.KeepAlive = keepAliveAfter }
