package pool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"usher/internal/proxyheader"
)

// ann comes by IPv6 under TLS.
func ann() Voucher {
	return Voucher{
		Client: proxyheader.Header{
			Remote: netip.MustParseAddrPort("[2001:db8::7]:1025"), Local: netip.MustParseAddrPort("[2001:db8::1]:993"),
			TLS: "TLSv1.3", ServerName: "mail.example.org", CertName: "Ann", ID: "1A2B3C4D5E6F7",
		},
		Protocol: "imap", UTF8: true, Build: "1.0+abc",
		Account: Account{Name: "ann@example.org", Fields: map[string]string{"uid": "1000", "home": "/home/ann", "quota": "1G, please"}},
	}
}

func encoded(t testing.TB, v Voucher) []byte {
	t.Helper()
	b, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var equal = []cmp.Option{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateEmpty()}

func TestAVoucherArrivesAsItWasWritten(t *testing.T) {
	four, plain, pipe := ann(), ann(), ann()
	four.Client.Remote, four.Client.Local = netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("192.0.2.1:143")
	plain.Client.TLS, plain.Client.ServerName, plain.Client.CertName, plain.UTF8, plain.Build = "", "", "", false, ""
	pipe.Client.Remote, pipe.Client.Local = netip.AddrPort{}, netip.AddrPort{}
	mixed := four
	mixed.Client.Local = netip.MustParseAddrPort("[2001:db8::1]:993")
	for name, v := range map[string]Voucher{"IPv6": ann(), "IPv4": four, "in clear": plain, "no address": pipe, "one of each family": mixed} {
		r := bytes.NewReader(append(encoded(t, v), "and more"...))
		got, err := Read(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(v, got, equal...); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "and more" {
			t.Errorf("%s: what follows it is %q", name, rest)
		}
	}
}

// The framing is the standard's: a library that knows it reads it.
func TestAVoucherIsAPROXYHeader(t *testing.T) {
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(encoded(t, ann()))))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.SourceAddr.String(); got != "[2001:db8::7]:1025" {
		t.Errorf("the client is %s", got)
	}
	tlvs, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[proxyproto.PP2Type]string{}
	for _, v := range tlvs {
		kinds[v.Type] = string(v.Value)
	}
	if kinds[proxyproto.PP2_TYPE_UNIQUE_ID] != "1A2B3C4D5E6F7" || kinds[proxyproto.PP2_TYPE_AUTHORITY] != "mail.example.org" || kinds[typeProtocol] != "imap" {
		t.Errorf("the values are %q", kinds)
	}
	if ssl, ok := tlvparse.FindSSL(tlvs); !ok || !ssl.ClientSSL() {
		t.Errorf("it does not say that the client is under TLS")
	}
}

// changed is ann's voucher with values behind it, or one in place of another.
func changed(t testing.TB, change func(v map[byte][]byte) []byte) []byte {
	t.Helper()
	b := encoded(t, ann())
	values, at := map[byte][]byte{}, headerSize+36
	for at < len(b) {
		n := int(binary.BigEndian.Uint16(b[at+1:]))
		values[b[at]] = b[at+3 : at+3+n]
		at += 3 + n
	}
	extra := change(values)
	out := bytes.Clone(b[:headerSize+36])
	for _, kind := range []byte{typeServerName, typeID, typeTLS, typeProtocol, typeBuild, typeFacts, typeAccount} {
		if v, ok := values[kind]; ok {
			out = appendValue(out, kind, v)
		}
	}
	return finish(append(out, extra...))
}

func TestWhatAPeerMustNotSayIsRefused(t *testing.T) {
	with := func(kind byte, value string) []byte {
		return changed(t, func(v map[byte][]byte) []byte { v[kind] = []byte(value); return nil })
	}
	behind := func(extra ...byte) []byte { return changed(t, func(map[byte][]byte) []byte { return extra }) }
	without := func(kind byte) []byte {
		return changed(t, func(v map[byte][]byte) []byte { delete(v, kind); return nil })
	}
	whole := encoded(t, ann())
	at := func(i int, b byte) []byte { c := bytes.Clone(whole); c[i] = b; return c }
	for name, c := range map[string]struct {
		voucher []byte
		want    string
	}{
		"a value twice":                    {behind(appendValue(nil, typeProtocol, []byte("pop3"))...), "0xe1 comes twice"},
		"a standard value twice":           {behind(appendValue(nil, typeID, []byte("x"))...), "0x5 comes twice"},
		"an unknown critical one":          {behind(0xEF, 0, 0), "must be understood"},
		"a value longer than the rest":     {behind(0xE4, 0, 9, 'x'), "ends too soon"},
		"half a value":                     {behind(0xE4, 0), "ends too soon"},
		"too long":                         {append(at(lengthAt, 0x40)[:headerSize], make([]byte, 1<<15)...), "more than the 16384"},
		"cut":                              {whole[:len(whole)-1], "ends too soon"},
		"only its beginning":               {whole[:5], "ends too soon"},
		"garbage":                          {[]byte("GET / HTTP/1.0\r\n\r\n...."), "no PROXY header"},
		"version 1":                        {[]byte("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n"), "no PROXY header"},
		"a peer that speaks for itself":    {at(commandAt, isLocal), "version and command"},
		"addresses of UDP":                 {at(commandAt+1, 0x22), "none of TCP"},
		"no protocol":                      {without(typeProtocol), "names no protocol"},
		"no account":                       {without(typeAccount), "names no user"},
		"an account that is no JSON":       {with(typeAccount, "ann"), "the account"},
		"two accounts":                     {with(typeAccount, `{"name":"ann"}{"name":"bob"}`), "stands behind it"},
		"an unknown key":                   {with(typeAccount, `{"name":"ann","admin":"yes"}`), "unknown field"},
		"a name with a line end":           {with(typeAccount, `{"name":"ann\nwhy=fine"}`), "makes no sense"},
		"a name of 600 letters":            {with(typeAccount, `{"name":"`+strings.Repeat("x", 600)+`"}`), "makes no sense"},
		"no UTF-8":                         {with(typeAccount, "{\"name\":\"\xff\"}"), "makes no sense"},
		"a field with NUL":                 {with(typeAccount, `{"name":"ann","fields":{"home":"/\u0000"}}`), "makes no sense"},
		"a field without name":             {with(typeAccount, `{"name":"ann","fields":{"":"x"}}`), "makes no sense"},
		"an ID with a quote":               {with(typeID, `x" why="`), "makes no sense"},
		"a fact that is not known":         {with(typeFacts, "\x03"), "makes no sense"},
		"a version of TLS with a blank":    {with(typeTLS, "\x01\x00\x00\x00\x01\x21\x00\x03a b"), "makes no sense"},
		"TLS cut":                          {with(typeTLS, "\x01"), "ends too soon"},
		"a build of two lines":             {with(typeBuild, "a\nb"), "makes no sense"},
		"a name asked for with a blank":    {with(typeServerName, "a b"), "makes no sense"},
		"a protocol with a blank":          {with(typeProtocol, "imap x"), "makes no sense"},
		"a certificate's name with ^[":     {with(typeTLS, "\x07\x00\x00\x00\x00\x22\x00\x02\x1bx"), "makes no sense"},
		"a version of TLS that is long":    {with(typeTLS, "\x01\x00\x00\x00\x01\x21\x00\x09123456789"), "makes no sense"},
		"a value within TLS twice":         {with(typeTLS, "\x01\x00\x00\x00\x01\x21\x00\x01a\x21\x00\x01b"), "comes twice"},
		"addresses that are not all there": {finish(append(bytes.Clone(whole[:headerSize]), 1, 2, 3)), "ends too soon"},
	} {
		if v, err := Read(bytes.NewReader(c.voucher)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", name, v, err, c.want)
		}
	}
}

func TestWhatNeedNotBeUnderstoodIsPassedOver(t *testing.T) {
	b := changed(t, func(map[byte][]byte) []byte {
		return []byte{0xE4, 0, 1, 'x', 0x04, 0, 0, 0x04, 0, 2, 0, 0, 0x30, 0, 1, 'n', 0xF1, 0, 0}
	})
	got, err := Read(bytes.NewReader(b))
	if diff := cmp.Diff(ann(), got, equal...); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestAnAccountThatDoesNotFitIsToldBeforeItIsSent(t *testing.T) {
	long, many := ann(), ann()
	long.Account.Fields["note"] = strings.Repeat("x", MaxVoucher)
	for i := range maxFields {
		many.Account.Fields[strings.Repeat("x", i+1)] = "y"
	}
	for _, v := range []Voucher{long, many} {
		if _, err := v.Bytes(); !errors.Is(err, ErrTooLong) {
			t.Error(err)
		}
	}
	most := ann()
	most.Account.Fields["note"] = strings.Repeat("x", MaxVoucher-600)
	if _, err := Read(bytes.NewReader(encoded(t, most))); err != nil {
		t.Error(err)
	}
}

func TestTheFirstWordsOfANode(t *testing.T) {
	for _, build := range []string{"", "1.0+abc"} {
		if got, err := readHello(bytes.NewReader(hello(build))); got != build || err != nil {
			t.Errorf("%q: %q, %v", build, got, err)
		}
	}
	if _, err := readHello(strings.NewReader("* OK ready\r\n......")); err == nil {
		t.Error("a mail server's greeting was taken for a node's")
	}
}

// What is read is either refused or written again as it was.
func FuzzVoucher(f *testing.F) {
	f.Add(encoded(f, ann()))
	f.Add(hello("1.0"))
	f.Add(changed(f, func(map[byte][]byte) []byte { return []byte{0xE4, 0, 1, 'x'} }))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := v.Bytes()
		if errors.Is(err, ErrTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		w, err := Read(bytes.NewReader(again))
		if diff := cmp.Diff(v, w, equal...); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello("1.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		build, err := readHello(bytes.NewReader(b))
		if err == nil && (len(build) > maxBuild || !isPlain(build)) {
			t.Fatalf("%q", build)
		}
	})
}

func TestWhoMayVouchForWhom(t *testing.T) {
	s := Settings{Rules: []Rule{
		{Nodes: []string{"mx1"}, Domains: []string{"example.org"}},
		{Nodes: []string{"mx2"}, Users: []string{"a*@example.net", "root"}},
		{Users: []string{"everywhere@*"}},
	}}
	for _, c := range []struct {
		node, user string
		may        bool
	}{
		{"mx1", "ann@example.org", true},
		{"mx1", "Ann@EXAMPLE.org", true},
		{"mx1", "ann@example.net", false},
		{"mx1", "example.org", false},
		{"mx2", "ann@example.net", true},
		{"mx2", "bob@example.net", false},
		{"mx2", "ann@example.net.evil", false},
		{"mx2", "root", true},
		{"mx3", "root", false},
		{"mx3", "everywhere@example.com", true},
	} {
		if err := s.may(c.node, c.user); (err == nil) != c.may {
			t.Errorf("%s for %s: %v", c.node, c.user, err)
		}
	}
	if err := (Settings{}).may("mx1", "ann"); err != nil {
		t.Error(err)
	}
}
