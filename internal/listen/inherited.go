package listen

import "net"

// Inherited is a socket that another process has opened.
type Inherited struct{ *net.TCPListener }

// Inherit takes a socket over. Options that cannot be set stay as they were.
func Inherit(ln *net.TCPListener) Inherited {
	if raw, err := ln.SyscallConn(); err == nil {
		_ = setOptions(raw)
	}
	return Inherited{ln}
}

// Accept implements net.Listener. Package net asks the clients of a socket that it
// has not opened every 15 seconds whether they are there; this undoes it.
func (i Inherited) Accept() (net.Conn, error) {
	nc, err := i.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = nc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveAfter, Interval: -1, Count: -1})
	return nc, nil
}
