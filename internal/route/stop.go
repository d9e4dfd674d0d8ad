package route

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"usher/internal/account"
)

// A Dial is a login at a server over the network.
type Dial struct {
	Stops   []Stop        // tried in order
	Timeout time.Duration // from dialling to the answer of the login, all stops together
}

// Name implements Target.
func (d Dial) Name() string { return d.Stops[0].String() }

// Referred is where a login goes that the server at one stop has sent on: to
// addr, with that stop's settings, as user unless it is empty.
func (d Dial) Referred(from Stop, addr, user string) (Target, error) {
	host, port, err := SplitHost(addr)
	if err != nil {
		return nil, fmt.Errorf("referral: %w", err)
	}
	digits := strconv.Itoa(int(port))
	if port == 0 {
		_, digits, _ = net.SplitHostPort(from.Addr)
	}
	from.Addr = net.JoinHostPort(host, digits)
	from.Login.User = cmp.Or(user, from.Login.User)
	return Dial{Stops: []Stop{from}, Timeout: d.Timeout}, nil
}

// A Stop is one server that may have the mailbox, and how to log in there: it is
// dialled, or is a program that is started on this machine, or another node of the
// pool, which believes us who the client is.
type Stop struct {
	Backend        string // name of the settings, as in the configuration; LocalName, PoolName
	Addr           string // host:port; of an Exec the name of its program; of a Node where it is
	Exec           *Exec  // what is to be started; nil: nothing
	Node           string // the name of the node; "": it is none
	TLS            account.TLSMode
	Config         *tls.Config // of the backend; nil if never under TLS
	AnyCert        bool        // do not verify its certificate
	ConnectTimeout time.Duration
	SourceIP       netip.Addr // to dial from; zero: the system decides
	Trusted        bool       // may know who the client is
	ProxyProtocol  int        // version of the PROXY header that it wants; 0: none
	Preface        []byte     // is sent before all else, TLS too: that header; to a Node, the voucher
	Login          Login
}

// What stands in place of a backend's name in stops that are none.
const (
	LocalName = "local"
	PoolName  = "pool"
)

// Preauth tells whether who is behind the stop believes us that the client is who it
// says, so that nobody logs in there.
func (s Stop) Preauth() bool { return s.Exec != nil || s.Node != "" }

// String names the stop as it stands in logs.
func (s Stop) String() string { return s.Backend + "/" + s.Addr }

// NeedsStartTLS tells whether TLS begins within the protocol.
func (s Stop) NeedsStartTLS() bool { return s.TLS == account.TLSStart }

// ClientConfig is the TLS configuration towards this very host.
func (s Stop) ClientConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.Config != nil {
		c = s.Config.Clone()
	}
	c.ServerName, _, _ = net.SplitHostPort(s.Addr)
	c.InsecureSkipVerify = c.InsecureSkipVerify || s.AnyCert
	return c
}

// ShowsCertificate tells whether the server can see a certificate of usher's.
func (s Stop) ShowsCertificate() bool {
	return s.TLS != account.TLSNone && s.Config != nil && s.Config.GetClientCertificate != nil
}

// Login says as whom to log in.
type Login struct {
	User      string // the account's name towards the backend
	Password  string // "": the client's own
	Master    string // logs in as Master, with Password, for User; "": as User
	Mechanism string // SASL mechanism; "": what fits
	Token     bool   // with a token that is made for this login
}
