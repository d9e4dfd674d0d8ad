package server

import (
	"net"
	"net/netip"
)

// listensOn tells whether an address is one of ours: a login that went there
// would come back, again and again.
func (s *Server) listensOn(to netip.AddrPort) bool {
	for _, l := range s.listeners {
		at, ok := l.Net.Addr().(*net.TCPAddr)
		if !ok || at.Port != int(to.Port()) {
			continue
		}
		ip, _ := netip.AddrFromSlice(at.IP)
		if ip.Unmap() == to.Addr().Unmap() || ip.IsUnspecified() && isLocal(to.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// isLocal tells whether an address is one of this machine's.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, bad := netip.ParsePrefix(a.String()); err == nil && bad == nil && p.Addr() == ip {
			return true
		}
	}
	return false
}
