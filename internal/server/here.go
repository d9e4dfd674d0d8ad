package server

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// hereTime is how long the addresses of this machine are known before they are looked
// up again.
const hereTime = 5 * time.Second

// here tells whether a host is this machine: by its names, to the letter, as Courier
// compares them; or by its addresses, as Dovecot does. A host with a port is none of
// these.
type here struct {
	names []string
	more  []netip.Addr                 // of own_names
	own   func() ([]netip.Addr, error) // of the interfaces
	now   func() time.Time

	mu    sync.Mutex
	known []netip.Addr
	until time.Time
}

// here gathers the names of this machine.
func (b *builder) here() func(host string) bool {
	h := &here{own: interfaceAddrs, now: time.Now}
	system, _ := os.Hostname()
	for _, name := range append([]string{os.Getenv("PROXY_HOSTNAME"), b.cfg.Server.Hostname, system}, b.cfg.Server.OwnNames...) {
		switch addr, err := netip.ParseAddr(strings.Trim(name, "[]")); {
		case name == "":
		case err == nil:
			h.more = append(h.more, addr.Unmap())
		default:
			h.names = append(h.names, name)
		}
	}
	return h.is
}

func (h *here) is(host string) bool {
	if slices.Contains(h.names, host) {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return slices.Contains(h.more, addr) || slices.Contains(h.addrs(), addr)
}

// addrs are those of the interfaces, which may come and go. A machine that cannot tell
// has those that it had.
func (h *here) addrs() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.After(h.until) {
		if list, err := h.own(); err == nil {
			h.known = list
		}
		h.until = now.Add(hereTime)
	}
	return h.known
}

func interfaceAddrs() (list []netip.Addr, err error) {
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, bad := netip.ParsePrefix(a.String()); bad == nil {
			list = append(list, p.Addr().Unmap().WithZone(""))
		}
	}
	return list, err
}
