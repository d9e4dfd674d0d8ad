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
	host, digits, err := net.SplitHostPort(s)
	switch inside, bracketed := strings.CutPrefix(s, "["); {
	case err == nil && digits == "":
		return "", 0, fmt.Errorf("host %q: the port is missing behind the colon", s)
	case err != nil && bracketed && strings.HasSuffix(inside, "]"):
		host, digits = inside[:len(inside)-1], ""
	case err != nil:
		host, digits = s, ""
	}
	a, notAddr := netip.ParseAddr(host)
	switch {
	case notAddr == nil && (a.Zone() == "" || isName(a.Zone())):
		host = a.String()
	case !isName(host):
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
