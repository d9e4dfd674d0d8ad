package route_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"usher/internal/route"
)

func TestHostsAreReadInEveryForm(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port uint16
	}{
		"mail":                   {"mail", 0},
		"mail.example.org":       {"mail.example.org", 0},
		"mail.example.org:1143":  {"mail.example.org", 1143},
		"mail_1:1":               {"mail_1", 1},
		"xn--bcher-kva.example":  {"xn--bcher-kva.example", 0},
		"192.0.2.1":              {"192.0.2.1", 0},
		"192.0.2.1:65535":        {"192.0.2.1", 65535},
		"::1":                    {"::1", 0},
		"[::1]":                  {"::1", 0},
		"[::1]:143":              {"::1", 143},
		"2001:DB8::1":            {"2001:db8::1", 0},
		"fe80::1%eth0":           {"fe80::1%eth0", 0},
		"[fe80::1%eth0]:143":     {"fe80::1%eth0", 143},
		"192.0.2.1/32":           {"192.0.2.1", 0},
		"192.0.2.1/24":           {"192.0.2.1", 0}, // the host of it, not the network
		"2001:db8::1/128":        {"2001:db8::1", 0},
		"::ffff:192.0.2.1":       {"::ffff:192.0.2.1", 0},
		"[mail.example.org]:143": {"mail.example.org", 143},
		"[mail.example.org]":     {"mail.example.org", 0},
	} {
		host, port, err := route.SplitHost(in)
		if host != want.host || port != want.port || err != nil {
			t.Errorf("SplitHost(%q) = %q, %d, %v; want %v", in, host, port, err, want)
		}
	}
}

func TestWhatIsNoHostIsAnError(t *testing.T) {
	for _, in := range []string{
		"", ":143", "mail:", "mail:0", "mail:65536", "mail:imap", "mail:-1", "mail:+1", "a b", "a,b", "a;b", "imap://mail",
		"mail/inbox", "ann@mail", "mail\r\n", "mail\x00", "[::1", "::1]", "[[::1]]", "]::1[", "[]", "a:b:c", "192.0.2.1/33", "192.0.2.1/24:143",
		"fe80::1%a b", "fe80::1%\r\n", "[fe80::1%\"]:143",
	} {
		if host, port, err := route.SplitHost(in); err == nil {
			t.Errorf("SplitHost(%q) = %q, %d", in, host, port)
		}
	}
}

// FuzzSplitHost sees that what is taken for a host can be dialled and logged,
// and is read back as it was.
func FuzzSplitHost(f *testing.F) {
	for _, s := range []string{"mail:143", "[::1]:143", "::1", "[::1]", "192.0.2.1/32", "fe80::1%eth0", "a b", "::1%\n", "[x]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := route.SplitHost(s)
		if err != nil {
			return
		}
		if host == "" || strings.ContainsAny(host, " \t\r\n\x00/@[],;\"'") {
			t.Errorf("%q is the host %q", s, host)
		}
		again, samePort, err := route.SplitHost(net.JoinHostPort(host, strconv.Itoa(int(max(port, 1)))))
		if again != host || samePort != max(port, 1) || err != nil {
			t.Errorf("%q is %q, %d; written out and read again %q, %d, %v", s, host, port, again, samePort, err)
		}
	})
}
