package route

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// SplitHost reads "host", "host:port", "::1", "[::1]" or "[::1]:port". A network
// mask on an address, as SQL's inet type may print it, is cut off. Port 0 means
// that there is none.
func SplitHost(s string) (host string, port uint16, err error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr().String(), 0, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.String(), 0, nil
	}
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		host, digits = s, ""
	} else if digits == "" {
		return "", 0, fmt.Errorf("host %q: the port is missing behind the colon", s)
	}
	if _, err := netip.ParseAddr(host); err != nil && !isName(host) {
		return "", 0, fmt.Errorf("host %q is neither a name nor an address", s)
	}
	if digits != "" {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("host %q: %q is not a port number", s, digits)
		}
		port = uint16(n)
	}
	return host, port, nil
}

// isName tells whether a host may be asked of the DNS: whatever else is in the
// name, it cannot be an address, a URL or two hosts.
func isName(host string) bool {
	return host != "" && !strings.ContainsAny(host, " \t\r\n\x00:/@[],;\"'")
}
