package limit

import (
	"net/netip"
	"slices"
)

// Networks say which addresses count as one.
type Networks struct {
	V4, V6 int            // how many bits addresses of one network share; 0: 32 and 64
	Exempt []netip.Prefix // no limits by network hold for these
}

// of is the network of an address, without its zone. No address is that of a client of
// which only the front end is known yet: that has many.
func (n Networks) of(addr netip.Addr) (network netip.Prefix, exempt bool) {
	if !addr.IsValid() {
		return netip.Prefix{}, true
	}
	addr = addr.Unmap().WithZone("")
	bits := n.bits(addr)
	network, _ = addr.Prefix(bits)
	return network, slices.ContainsFunc(n.Exempt, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (n Networks) bits(addr netip.Addr) int {
	switch {
	case addr.Is4() && n.V4 > 0:
		return n.V4
	case addr.Is4():
		return 32
	case n.V6 > 0:
		return n.V6
	}
	return 64 // what one site has
}
