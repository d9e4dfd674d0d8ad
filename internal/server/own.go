package server

import (
	"net"
	"net/netip"
	"slices"

	"usher/internal/listen"
)

// listensOn tells whether an address is one of ours: a login that went there
// would come back, again and again.
func (s *Server) listensOn(to netip.AddrPort) (own bool) {
	s.ports.each(func(_ string, l *listen.Listener) { own = own || isOwn(l.Net.Addr(), to) })
	return own
}

func isOwn(listens net.Addr, to netip.AddrPort) bool {
	at, ok := listens.(*net.TCPAddr)
	if !ok || at.Port != int(to.Port()) {
		return false
	}
	ip, _ := netip.AddrFromSlice(at.IP)
	return ip.Unmap() == to.Addr().Unmap() || ip.IsUnspecified() && isLocal(to.Addr().Unmap())
}

// isLocal tells whether an address is one of this machine's.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := interfaceAddrs()
	return err == nil && slices.Contains(addrs, ip)
}
