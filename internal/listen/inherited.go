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
	rare(nc)
	return nc, nil
}

// rare asks a client that another program has accepted as seldom whether it is there as
// our own.
func rare(nc *net.TCPConn) {
	_ = nc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveAfter, Interval: -1, Count: -1})
}

// ready sets what a client has whose socket did not come from one of ours.
func ready(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = setOptions(raw)
	}
	rare(tcp)
}
