//go:build !linux

package backend

import "net"

func setOptions(*net.Dialer) {}
