package proxyheader

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unicode"
	"unicode/utf8"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// ErrNone says that the peer begins with something else.
var ErrNone = errors.New("no PROXY header")

// maxV1 is how long a header of version 1 may be: proxy-protocol.txt §2.1. One of
// version 2 may have 4 KB: certificates are among what it may carry.
const maxV1 = 107

// Read reads a header from the beginning of a connection, and nothing of what
// follows it. How long it may take is up to what r reads from.
func Read(r *bufio.Reader) (Header, error) {
	if _, err := r.Peek(1); err != nil {
		return Header{}, err // not an answer of any kind: the peer may only have looked whether we are here
	}
	if err := gather(r); err != nil {
		return Header{}, err
	}
	raw, err := proxyproto.Read(r)
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
		return Header{}, ErrNone
	case err != nil:
		return Header{}, fmt.Errorf("PROXY header: %w", err)
	case raw.Command.IsLocal():
		return Header{}, nil
	}
	return header(raw)
}

// gather waits for the whole of a header of version 1: the library takes no half
// ones, which §2 wants receivers to bear with.
func gather(r *bufio.Reader) error {
	for n := 1; n <= maxV1; n = r.Buffered() + 1 {
		if _, err := r.Peek(n); err != nil {
			return err
		}
		begun, _ := r.Peek(min(r.Buffered(), maxV1))
		isV1 := bytes.HasPrefix(begun, proxyproto.SIGV1[:min(len(begun), len(proxyproto.SIGV1))])
		if !isV1 || bytes.IndexByte(begun, '\n') >= 0 {
			return nil
		}
	}
	return nil
}

// header is what a header says of a client of TCP. Of one that came by other ways,
// such as a unix socket of the load balancer's own machine, there is no address.
func header(raw *proxyproto.Header) (h Header, err error) {
	remote, local, ok := raw.TCPAddrs()
	if !ok && !raw.TransportProtocol.IsUnix() {
		return h, fmt.Errorf("PROXY header: %v is no way for mail", raw.TransportProtocol)
	}
	if ok {
		h.Remote, h.Local = addrPort(remote), addrPort(local)
	}
	tlvs, err := raw.TLVs()
	for _, t := range tlvs {
		if err == nil {
			err = h.take(t)
		}
	}
	if err != nil {
		return Header{}, fmt.Errorf("PROXY header: %w", err)
	}
	return h, nil
}

func addrPort(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// take reads one of the values behind the addresses: proxy-protocol.txt §2.2.
func (h *Header) take(t proxyproto.TLV) error {
	switch v := string(t.Value); {
	case t.Type == proxyproto.PP2_TYPE_AUTHORITY && IsName(v):
		h.ServerName = v
	case t.Type == proxyproto.PP2_TYPE_UNIQUE_ID && IsID(v):
		h.ID = v
	case t.Type == proxyproto.PP2_TYPE_SSL:
		return h.takeTLS(t)
	}
	return nil
}

// takeTLS reads how the peer's client is encrypted. Who it is by its certificate
// counts only if the peer has verified that.
func (h *Header) takeTLS(t proxyproto.TLV) error {
	ssl, err := tlvparse.SSL(t)
	if err != nil || !ssl.ClientSSL() {
		return err
	}
	h.TLS = "TLS"
	if version, _ := ssl.SSLVersion(); isWord(version, len("TLSv1.3")) {
		h.TLS = version
	}
	if name, _ := ssl.ClientCN(); ssl.Verified() && (ssl.ClientCertConn() || ssl.ClientCertSess()) && isPrintable(name) {
		h.CertName = name
	}
	return nil
}

func isPrintable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}
