package listen_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/imap"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/relay/relaytest"
)

// Where load balancers and trusted proxies are in these tests.
const balancer, proxy = "10.0.0.5:40000", "10.1.0.5:40000"

func fronts(h *house) {
	h.service.Fronts = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	h.service.Trusted = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("2001:db8::/32")}
}

// by lets a client in by the load balancer.
func (h *house) by(client string) *visitor {
	v := h.enter(balancer)
	a := netip.MustParseAddrPort(client)
	family := map[bool]string{true: "TCP4 " + a.Addr().String() + " 192.0.2.1", false: "TCP6 " + a.Addr().String() + " 2001:db8::1"}[a.Addr().Is4()]
	_ = v.say("PROXY " + family + " 1234 143\r\n")
	return v
}

func TestClientsOfALoadBalancerAreCountedByTheirOwnAddress(t *testing.T) {
	each(t, func(h *house) { fronts(h); h.desk.Limits.Set(limit.Bounds{LoginsPerAddress: 2}) }, func(t *testing.T, h *house) {
		a, b := h.by("192.0.2.7:1"), h.by("192.0.2.7:1")
		_, _ = a.in.ReadString('\n')
		_, _ = b.in.ReadString('\n')
		if got := h.by("192.0.2.7:1").rest(); got != h.service.Protocol.Info().Full+"\r\n" {
			t.Errorf("the third of one address heard %q", got)
		}
		if !strings.Contains(h.log.String(), `msg="connection refused"`) || !strings.Contains(h.log.String(), "remote=192.0.2.7:1234") {
			t.Errorf("the log says %s", h.log.String())
		}
		for _, other := range []string{"192.0.2.8:1", "192.0.2.9:1", "[2001:db8:1::9]:1"} {
			v := h.by(other)
			if line, err := v.in.ReadString('\n'); err != nil || strings.Contains(line, "Too many") {
				t.Errorf("%s heard %q %v", other, line, err)
			}
			_ = v.nc.Close()
		}
		_ = a.nc.Close()
		synctest.Wait()
		again := h.by("192.0.2.7:1")
		if line, _ := again.in.ReadString('\n'); strings.Contains(line, "Too many") {
			t.Errorf("after one has left, the next heard %q", line)
		}
		_, _ = b.nc.Close(), again.nc.Close()
		synctest.Wait()
		if n := h.desk.Limits.Conversations(); n != 0 {
			t.Errorf("when all have gone, %d are counted", n)
		}
	})
}

// A burst of clients by one load balancer is no attack.
func TestALoadBalancerMayBringMany(t *testing.T) {
	each(t, func(h *house) { fronts(h); h.desk.Limits.Set(limit.Bounds{LoginsPerAddress: 1}) }, func(t *testing.T, h *house) {
		var silent []*visitor
		for range 100 {
			silent = append(silent, h.enter(balancer), h.enter(proxy))
		}
		synctest.Wait()
		if n := h.desk.Limits.Conversations(); n != 200 {
			t.Errorf("%d are counted, want 200", n)
		}
		if strings.Contains(h.log.String(), "connection refused") {
			t.Errorf("the log says %s", h.log.String())
		}
		for _, v := range silent {
			_ = v.nc.Close()
		}
	})
}

// Descriptors have their bound whoever comes.
func TestALoadBalancerMayNotBringMoreThanThereIsRoomFor(t *testing.T) {
	each(t, func(h *house) { fronts(h); h.desk.Limits.Set(limit.Bounds{Connections: 1}) }, func(t *testing.T, h *house) {
		first := h.enter(balancer)
		if got := h.by("192.0.2.7:1").rest(); !strings.Contains(got, "Too many") {
			t.Errorf("the second heard %q", got)
		}
		_ = first.nc.Close()
	})
}

func TestClientsOfATrustedProxyAreCountedByTheirOwnAddress(t *testing.T) {
	each(t, func(h *house) { fronts(h); h.desk.Limits.Set(limit.Bounds{LoginsPerAddress: 1}) }, func(t *testing.T, h *house) {
		tell := map[string]string{"imap": "a ID (\"x-originating-ip\" \"192.0.2.7\")\r\n", "pop3": "XCLIENT ADDR=192.0.2.7\r\n"}[h.service.Protocol.Info().Name]
		first, second := h.enter(proxy), h.enter(proxy)
		for _, v := range []*visitor{first, second} {
			_, _ = v.in.ReadString('\n')
			_ = v.say(tell)
			synctest.Wait() // one after the other
		}
		_, _ = first.in.ReadString('\n')
		if got := second.rest(); got != h.service.Protocol.Info().Full+"\r\n" {
			t.Errorf("the second heard %q", got)
		}
		if !strings.Contains(h.log.String(), "connection refused") {
			t.Errorf("the log says %s", h.log.String())
		}
		h.visit()
		_ = first.nc.Close()
	})
}

// Who does not begin with the header is cut off, soon, and the log has a line a
// second at most.
func TestAMissingHeaderIsToldOnce(t *testing.T) {
	each(t, fronts, func(t *testing.T, h *house) {
		began := time.Now()
		var silent []*visitor
		for range 50 {
			silent = append(silent, h.enter(balancer))
		}
		dripping := h.enter(balancer)
		go func() {
			for _, b := range "PROXY TCP4 192.0.2.7 192.0.2.1 1 143" {
				time.Sleep(time.Second)
				if dripping.say(string(b)) != nil {
					return
				}
			}
		}()
		for _, v := range append(silent, dripping) {
			if got := v.rest(); got != "" {
				t.Errorf("heard %q", got)
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := h.enter(balancer); got.say("garbage\r\n") == nil && got.rest() != "" {
			t.Error("garbage is answered")
		}
		if n := strings.Count(h.log.String(), "level=WARN"); n != 1 || !strings.Contains(h.log.String(), "no PROXY header") {
			t.Errorf("%d lines: %s", n, h.log.String())
		}
		h.visit()
	})
}

func TestAHealthCheckIsNoWarning(t *testing.T) {
	each(t, fronts, func(t *testing.T, h *house) {
		_ = h.enter(balancer).nc.Close()
		local := h.enter(balancer)
		_ = local.say("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
		_, _ = local.in.ReadString('\n')
		_ = local.nc.Close()
		synctest.Wait()
		if log := h.log.String(); strings.Contains(log, "WARN") || strings.Contains(log, "ERROR") {
			t.Errorf("the log says %s", log)
		}
	})
}

func TestAStopDoesNotWaitForAHeader(t *testing.T) {
	each(t, fronts, func(t *testing.T, h *house) {
		v := h.enter(balancer)
		synctest.Wait()
		began := time.Now()
		h.stop()
		if got := v.rest(); got != "" || time.Since(began) != 0 {
			t.Errorf("heard %q after %v", got, time.Since(began))
		}
	})
}

// prefixed sends something before its first words, in the same breath.
type prefixed struct {
	net.Conn
	text string
}

func (p *prefixed) Write(b []byte) (int, error) {
	text := p.text
	p.text = ""
	n, err := p.Conn.Write(append([]byte(text), b...))
	return max(0, n-len(text)), err
}

// The client's handshake follows the header in one packet, for those who pass TLS
// through.
func TestTLSMayBeginBehindTheHeader(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client := relaytest.TLS(version)
		client.InsecureSkipVerify = true // here it is the year 2000
		change := func(h *house) {
			fronts(h)
			h.service.Implicit = true
			h.service.Terms.TLS = listen.ServerConfig(server, imap.Protocol{})
			h.desk.Limits.Set(limit.Bounds{LoginsPerAddress: 1})
		}
		enter := func(h *house) *visitor {
			v := h.enter(balancer)
			v.nc = tls.Client(&prefixed{v.nc, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 993\r\n"}, client)
			v.in = bufio.NewReader(v.nc)
			return v
		}
		open(t, imap.Protocol{}, change, func(t *testing.T, h *house) {
			v := enter(h)
			v.hear("* OK ")
			if got := enter(h).rest(); got != h.service.Protocol.Info().Full+"\r\n" { // under TLS, too
				t.Errorf("one too many heard %q", got)
			}
			_ = v.say("a LOGIN ann secret\r\n")
			v.hear("a OK ")
			go func() { _ = v.say("hello\r\n") }()
			v.hear("hello")
			_ = v.nc.Close()
			synctest.Wait()
			if !strings.Contains(h.log.String(), "remote=192.0.2.7:4711 tls=TLSv1.") {
				t.Errorf("the log says %s", h.log.String())
			}
		})
	}
}

// Where TLS is expected, a header from a load balancer that nobody has named is
// told apart from noise.
func TestAHeaderBeforeTLSFromAnybodyElseIsTold(t *testing.T) {
	server, _ := relaytest.TLS(tls.VersionTLS13)
	change := func(h *house) { h.service.Implicit, h.service.Terms.TLS = true, server }
	for says, told := range map[string]bool{
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 993\r\n": true, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00": true, "GET / HTTP/1.0\r\n\r\n": false,
	} {
		open(t, imap.Protocol{}, change, func(t *testing.T, h *house) {
			v := h.enter("192.0.2.7:1")
			go func() { _ = v.say(says) }()
			_, _ = v.in.ReadString('\n')
			_ = v.nc.Close()
			synctest.Wait()
			if strings.Contains(h.log.String(), "a PROXY header, but proxy_protocol") != told {
				t.Errorf("%q: the log says %s", says, h.log.String())
			}
		})
	}
}
