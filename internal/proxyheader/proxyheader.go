// Package proxyheader reads and writes the PROXY header (HAProxy's
// proxy-protocol.txt, versions 1 and 2): what a load balancer says before all
// else of the client that it stands for. What it means is up to others.
//
// Read is in read.go, Bytes in write.go.
package proxyheader

import "net/netip"

// A Header is what is said of a client. The zero value says nothing: the peer
// speaks for itself (LOCAL, UNKNOWN), as load balancers do to see whether we live.
type Header struct {
	Remote, Local netip.AddrPort // the client's own address, and the one it has connected to
	TLS           string         // the version towards the client: "TLSv1.3"; "": not known to be encrypted
	ServerName    string         // that the client has asked for (SNI)
	CertName      string         // the common name in the client's certificate, which was verified
	ID            string         // what the peer calls the connection
}

// MaxID is how long the ID of a connection may be, as Dovecot has it. Longer ones
// are as good as none.
const MaxID = 64

// IsID tells whether a peer's ID may stand in our log, and be told to others:
// it has no blank or quote, so that it cannot pass for anything else.
func IsID(s string) bool { return isWord(s, MaxID) }

// IsName tells whether a server's name may be passed on.
func IsName(s string) bool { return isWord(s, 255) }

func isWord(s string, most int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != "" && len(s) <= most
}
