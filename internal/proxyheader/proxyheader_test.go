package proxyheader_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"usher/internal/proxyheader"
)

var (
	v4  = netip.MustParseAddrPort("192.0.2.7:4711")
	v4b = netip.MustParseAddrPort("198.51.100.1:993")
	v6  = netip.MustParseAddrPort("[2001:db8::7]:4711")
	v6b = netip.MustParseAddrPort("[2001:db8::1]:993")
)

// read reads a header, and what was left behind it.
func read(t testing.TB, r io.Reader) (h proxyheader.Header, rest string, err error) {
	t.Helper()
	b := bufio.NewReaderSize(r, 8<<10)
	h, err = proxyheader.Read(b)
	tail, _ := io.ReadAll(b)
	return h, string(tail), err
}

const behind = "a1 LOGIN ann secret\r\n"

func TestWhatIsWrittenIsRead(t *testing.T) {
	full := proxyheader.Header{Remote: v4, Local: v4b, TLS: "TLSv1.3", ServerName: "mail.example.org", CertName: "Änn Lee", ID: "abc/123"}
	for _, c := range []struct {
		name    string
		header  proxyheader.Header
		version int
		want    proxyheader.Header
	}{
		{"v1", full, 1, proxyheader.Header{Remote: v4, Local: v4b}},
		{"v2", full, 2, full},
		{"v1 over IPv6", proxyheader.Header{Remote: v6, Local: v6b}, 1, proxyheader.Header{Remote: v6, Local: v6b}},
		{"v2 over IPv6", proxyheader.Header{Remote: v6, Local: v6b, TLS: "TLS"}, 2, proxyheader.Header{Remote: v6, Local: v6b, TLS: "TLS"}},
		{"v1, one of each family", proxyheader.Header{Remote: v6, Local: v4b}, 1, proxyheader.Header{}},
		{"v2, one of each family", proxyheader.Header{Remote: v6, Local: v4b}, 2, proxyheader.Header{Remote: v6, Local: v4b}},
		{"v2, the other way round", proxyheader.Header{Remote: v4, Local: v6b}, 2, proxyheader.Header{Remote: v4, Local: v6b}},
		{"v1 of nobody", proxyheader.Header{}, 1, proxyheader.Header{}},
		{"v2 of nobody", proxyheader.Header{}, 2, proxyheader.Header{}},
		{"v2 to nowhere", proxyheader.Header{Remote: v4, TLS: "TLS"}, 2, proxyheader.Header{}},
	} {
		text := string(c.header.Bytes(c.version))
		for how, r := range map[string]io.Reader{
			"at once": strings.NewReader(text + behind), "byte by byte": iotest.OneByteReader(strings.NewReader(text + behind)),
		} {
			h, rest, err := read(t, r)
			if err != nil || h != c.want || rest != behind {
				t.Errorf("%s, %s: %+v, then %q, %v; want %+v", c.name, how, h, rest, err, c.want)
			}
		}
	}
}

func TestTextIsAsTheStandardHasIt(t *testing.T) {
	for want, h := range map[string]proxyheader.Header{
		"PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n":  {Remote: v4, Local: v4b},
		"PROXY TCP6 2001:db8::7 2001:db8::1 4711 993\r\n": {Remote: v6, Local: v6b},
		"PROXY UNKNOWN\r\n":                  {Remote: v6, Local: v4b},
		"PROXY TCP6 fe80::1 fe80::2 1 2\r\n": {Remote: netip.MustParseAddrPort("[fe80::1%eth0]:1"), Local: netip.MustParseAddrPort("[fe80::2]:2")},
	} {
		if got := string(h.Bytes(1)); got != want {
			t.Errorf("%+v is written %q, want %q", h, got, want)
		}
	}
}

func TestWhatIsNoHeaderIsNotTaken(t *testing.T) {
	for _, says := range []string{behind, "POP3\r\n", "\r\n", "\x16\x03\x01\x02\x00", "\r\n\r\n\x00\r\nQUIT?", "P" + strings.Repeat("x", 300)} {
		if _, rest, err := read(t, strings.NewReader(says)); !errors.Is(err, proxyheader.ErrNone) || rest != says {
			t.Errorf("%.40q: %v, left %.40q", says, err, rest)
		}
	}
	if _, _, err := read(t, strings.NewReader("")); !errors.Is(err, io.EOF) {
		t.Errorf("who says nothing: %v", err)
	}
}

func TestBrokenHeadersAreRefused(t *testing.T) {
	long := string(v2(t, proxyproto.TLV{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 5000)}))
	for name, says := range map[string]string{
		"cut off":             "PROXY TCP4 192.0.2.7",
		"without end":         "PROXY TCP4 " + strings.Repeat("1", 8<<10),
		"no address":          "PROXY TCP4 192.0.2.7x 198.51.100.1 4711 993\r\n",
		"no port":             "PROXY TCP4 192.0.2.7 198.51.100.1 99999 993\r\n",
		"the other family":    "PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n",
		"a bare LF":           "PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\n",
		"v2 cut off":          string(v2(t))[:20],
		"v2 over the bound":   long,
		"v2 of UDP":           "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + strings.Repeat("x", 12),
		"v2, a value cut off": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0e" + strings.Repeat("x", 12) + "\x02\x00",
		"v2, half of TLS":     string(v2(t, proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: []byte{1, 0, 0}})),
		"v2, TLS of none":     string(v2(t, proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: []byte{1, 0, 0, 0, 0}})),
	} {
		if h, _, err := read(t, strings.NewReader(says)); err == nil || h != (proxyheader.Header{}) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// v2 is a header of version 2 with any values.
func v2(t testing.TB, values ...proxyproto.TLV) []byte {
	t.Helper()
	raw := proxyproto.HeaderProxyFromAddrs(2, tcp(v4), tcp(v4b))
	err := raw.SetTLVs(values)
	text, formatErr := raw.Format()
	if err = errors.Join(err, formatErr); err != nil {
		t.Fatal(err)
	}
	return text
}

// A load balancer says of its own checks, and of clients that came by other ways,
// that it has nothing to say.
func TestAPeerMaySpeakForItself(t *testing.T) {
	for name, says := range map[string]string{
		"UNKNOWN":                "PROXY UNKNOWN ffff:f::1 ffff:f::2 65535 65535\r\n",
		"LOCAL":                  "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
		"LOCAL with an address":  "\r\n\r\n\x00\r\nQUIT\n\x20\x11\x00\x0c" + strings.Repeat("x", 12),
		"LOCAL with odd lengths": "\r\n\r\n\x00\r\nQUIT\n\x20\x11\x00\x03xyz",
		"a unix socket":          "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("x", 216),
	} {
		if h, rest, err := read(t, strings.NewReader(says+behind)); err != nil || h != (proxyheader.Header{}) || rest != behind {
			t.Errorf("%s: %+v, then %q, %v", name, h, rest, err)
		}
	}
}

// What the load balancer's client may have chosen does not get far.
func TestOddValuesAreLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		value proxyproto.TLV
		want  proxyheader.Header
	}{
		"a name with a blank":            {proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("a remote=6.6.6.6")}, proxyheader.Header{}},
		"a name with a line end":         {proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("a\r\nb")}, proxyheader.Header{}},
		"no name":                        {proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY}, proxyheader.Header{}},
		"an ID of bytes":                 {proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte("\x00\x01")}, proxyheader.Header{}},
		"a long ID":                      {proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte(strings.Repeat("x", 65))}, proxyheader.Header{}},
		"a version of TLS with blanks":   {ssl(t, 1, 1, "TLS v9", ""), proxyheader.Header{TLS: "TLS"}},
		"a certificate nobody verified":  {ssl(t, 7, 1, "TLSv1.2", "eve"), proxyheader.Header{TLS: "TLSv1.2"}},
		"no certificate":                 {ssl(t, 1, 0, "TLSv1.2", "eve"), proxyheader.Header{TLS: "TLSv1.2"}},
		"a certificate of odd letters":   {ssl(t, 7, 0, "TLSv1.2", "a\nb"), proxyheader.Header{TLS: "TLSv1.2"}},
		"a certificate of this session":  {ssl(t, 5, 0, "TLSv1.2", "ann"), proxyheader.Header{TLS: "TLSv1.2", CertName: "ann"}},
		"no TLS, though there are words": {ssl(t, 0, 0, "TLSv1.2", "ann"), proxyheader.Header{}},
	} {
		c.want.Remote, c.want.Local = v4, v4b
		if h, _, err := read(t, strings.NewReader(string(v2(t, c.value)))); err != nil || h != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, h, err, c.want)
		}
	}
}

// FuzzRead says anything. What was read can be written and read again.
func FuzzRead(f *testing.F) {
	for _, h := range []proxyheader.Header{{}, {Remote: v4, Local: v4b}, {Remote: v6, Local: v6b, TLS: "TLSv1.3", ServerName: "x", CertName: "ann", ID: "1"}} {
		f.Add(string(h.Bytes(1)) + behind)
		f.Add(string(h.Bytes(2)) + behind)
	}
	f.Add("PROXY UNKNOWN\r\n")
	f.Add("\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("x", 216))
	f.Fuzz(func(t *testing.T, says string) {
		h, rest, err := read(t, strings.NewReader(says))
		if err != nil {
			if h != (proxyheader.Header{}) {
				t.Errorf("%+v comes with %v", h, err)
			}
			return
		}
		if !strings.HasSuffix(says, rest) || len(says)-len(rest) > 16+4096 {
			t.Errorf("%d bytes were taken of %d", len(says)-len(rest), len(says))
		}
		again, _, err := read(t, strings.NewReader(string(h.Bytes(2))))
		if want := written(h); err != nil || again != want {
			t.Errorf("%+v became %+v, %v", want, again, err)
		}
	})
}

// written is what can be written of a header that was read.
func written(h proxyheader.Header) proxyheader.Header {
	if !h.Remote.IsValid() { // came by a unix socket: there may be values without addresses
		return proxyheader.Header{}
	}
	return h
}

func tcp(a netip.AddrPort) *net.TCPAddr { return net.TCPAddrFromAddrPort(a) }

// ssl is what a load balancer says of its client's encryption.
func ssl(t testing.TB, client uint8, verify uint32, version, name string) proxyproto.TLV {
	t.Helper()
	s := tlvparse.PP2SSL{Client: client, Verify: verify}
	s.TLV = append(s.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(version)})
	if name != "" {
		s.TLV = append(s.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(name)})
	}
	v, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
