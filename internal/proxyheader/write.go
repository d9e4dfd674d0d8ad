package proxyheader

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Bytes is the header as it is sent, in version 1 or 2. A header that names no
// client, or that version 1 has no form for, says that the peer speaks for itself.
func (h Header) Bytes(version int) []byte {
	raw := &proxyproto.Header{Version: byte(version), Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	switch remote, local := h.Remote.Addr(), h.Local.Addr(); {
	case !remote.IsValid() || !local.IsValid():
	case remote.Is4() && local.Is4():
		raw.Command, raw.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv4
	case version == 2 || remote.Is6() && local.Is6(): // one of each family: version 2 has a place for both, if the IPv4 one is mapped
		raw.Command, raw.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv6
	}
	raw.SourceAddr, raw.DestinationAddr = tcpAddr(h.Remote), tcpAddr(h.Local)
	if version == 2 {
		must(raw.SetTLVs(h.values()))
	}
	text, err := raw.Format()
	must(err)
	return text
}

// must is for errors that only a bug can make: all lengths were checked before.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("proxyheader: %v", err))
	}
}

func tcpAddr(a netip.AddrPort) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())) // a zone means something on this machine only
}

// values are what stands behind the addresses: proxy-protocol.txt §2.2.
func (h Header) values() (list []proxyproto.TLV) {
	if h.ServerName != "" {
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(h.ServerName)})
	}
	if h.ID != "" {
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte(h.ID)})
	}
	if h.TLS != "" {
		list = append(list, h.ssl())
	}
	return list
}

func (h Header) ssl() proxyproto.TLV {
	ssl := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1} // no certificate was verified
	ssl.TLV = []proxyproto.TLV{{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(h.TLS)}}
	if h.CertName != "" {
		ssl.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN | tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		ssl.Verify = 0
		ssl.TLV = append(ssl.TLV, proxyproto.TLV{Type: proxyproto.PP2_SUBTYPE_SSL_CN, Value: []byte(h.CertName)})
	}
	t, err := ssl.Marshal()
	must(err)
	return t
}
