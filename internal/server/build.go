package server

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/account"
	"usher/internal/config"
	"usher/internal/ident"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/route"
)

// listeners translates [[listen]] and [tls].
func (b *builder) listeners(h *house) {
	if len(b.cfg.Listen) == 0 {
		b.wrong("add a [[listen]] block with protocol = \"imap\"", "listen", "there is nothing to listen on")
	}
	base := b.clientTLS(h)
	used := map[string]bool{}
	for i, l := range b.cfg.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		p := protocol(l.Protocol)
		if p == nil {
			continue
		}
		if l.TLS == "none" && l.CleartextLogin == "never" {
			b.warn("choose another tls or cleartext_login", key+".cleartext_login", "without TLS nobody could log in here")
		}
		if l.TLS != "none" && base == nil {
			b.wrong("set cert and key in [tls], or tls = \"none\" here", key+".tls", "tls = %q needs a certificate", l.TLS)
			continue
		}
		make := b.services(h, base, key, l)
		for n, addr := range b.addresses(l, key, p) {
			name := addr
			for again := 2; used[name]; again++ {
				if !strings.HasSuffix(addr, ":0") {
					b.wrong("leave one of them out", fmt.Sprintf("%s.addr[%d]", key, n), "%s is listened on already", addr)
				}
				name = fmt.Sprintf("%s#%d", addr, again)
			}
			used[name] = true
			h.services = append(h.services, service{port: name, addr: addr, Service: make()})
		}
	}
	b.lobby(h, base)
}

// services returns what makes the services of one [[listen]] block.
func (b *builder) services(h *house, base *tls.Config, key string, l config.Listen) (make func() *listen.Service) {
	p := protocol(l.Protocol)
	terms := login.Terms{Hostname: b.hostname(), Domain: l.DefaultDomain, Cleartext: cleartext[l.CleartextLogin]}
	if l.TLS != "none" {
		terms.TLS = listen.ServerConfig(base, p)
		h.tls = append(h.tls, terms.TLS)
		h.proofs(&terms)
	}
	fronts, trusted := b.networks(key+".proxy_protocol", l.ProxyProtocol), b.networks(key+".trusted", l.Trusted)
	return func() *listen.Service {
		return &listen.Service{
			Protocol: p, Implicit: l.TLS == "implicit", Terms: terms, Desk: h.desk, Limits: h.desk.Limits, Refusals: b.refusals, Traces: b.traces, Log: b.log,
			Bounds: listen.Bounds{Login: time.Duration(b.cfg.Limit.LoginTimeout), Command: time.Duration(b.cfg.Limit.CommandTimeout)},
			Fronts: fronts, Trusted: trusted,
		}
	}
}

// ident translates [server] ident: one more place to listen, for servers.
func (b *builder) ident(h *house) {
	addr := b.cfg.Server.Ident
	if addr == "" {
		return
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		b.wrong("write it as \"10.0.0.5:113\" or \":113\"", "server.ident", "%q is no address with a port", addr)
	}
	h.services = append(h.services, service{port: "ident " + addr, addr: addr, Service: &listen.Service{
		Protocol: ident.Protocol{}, Desk: h.desk, Limits: h.desk.Limits, Refusals: b.refusals, Log: b.log,
		Bounds: listen.Bounds{Login: identTime, Command: identTime},
	}})
}

// identTime is how long a server may take to ask who its client is.
const identTime = 30 * time.Second

var cleartext = map[string]login.Cleartext{
	"never": login.CleartextNever, "loopback": login.CleartextLoopback, "always": login.CleartextAlways,
}

// networks reads a list of networks or addresses.
func (b *builder) networks(key string, words []string) (list []netip.Prefix) {
	for i, word := range words {
		n, err := parseNetwork(word)
		if err != nil {
			b.wrong("write it as \"10.0.0.0/24\" or \"10.0.0.5\"", fmt.Sprintf("%s[%d]", key, i), "%q is no network", word)
			continue
		}
		list = append(list, n)
	}
	return list
}

// parseNetwork reads an address too: it is a network of its own.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// addresses are where a block listens; without any, on the protocol's own port.
func (b *builder) addresses(l config.Listen, key string, p login.Protocol) []string {
	port := p.Info().Port
	if l.TLS == "implicit" {
		port = p.Info().TLSPort
	}
	if len(l.Addr) == 0 {
		return []string{net.JoinHostPort("", strconv.Itoa(int(port)))}
	}
	for i, addr := range l.Addr {
		if strings.HasPrefix(addr, fromSystemd) {
			continue
		}
		_, digits, err := net.SplitHostPort(addr)
		if _, bad := strconv.ParseUint(digits, 10, 16); err != nil || bad != nil {
			b.wrong(fmt.Sprintf("write it as \"127.0.0.1:%d\", \"[::1]:%d\" or \":%d\"", port, port, port),
				fmt.Sprintf("%s.addr[%d]", key, i), "%q is no address with a port", addr)
		}
	}
	return l.Addr
}

// clientTLS is the configuration towards clients; nil if there is no
// certificate.
func (b *builder) clientTLS(h *house) *tls.Config {
	t := b.cfg.TLS
	if t.Cert == "" && t.Key == "" && len(t.Certificate) == 0 {
		return nil
	}
	all := []config.Certificate{}
	switch {
	case t.Cert != "" && t.Key != "":
		all = append(all, config.Certificate{Cert: t.Cert, Key: t.Key})
	case t.Cert != "" || t.Key != "":
		b.wrong("set both, or neither", "tls", "cert and key belong together")
	}
	c := &certificates{log: b.log, now: time.Now}
	h.certs = c
	for i, pair := range append(all, t.Certificate...) {
		key := "tls.cert"
		if n := i - len(all); n >= 0 {
			key = fmt.Sprintf("tls.certificate[%d].cert", n)
		}
		if err := c.add(string(pair.Cert), string(pair.Key)); err != nil {
			b.wrong("check that both files are PEM, belong together and may be read by usher", key, "%v", err)
		}
	}
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	base := &tls.Config{MinVersion: versions[t.MinVersion], GetCertificate: c.get}
	ask(base, h.clients)
	return base
}

// routes translates [backend.NAME], [local] and [[route]].
func (b *builder) routes(h *house) *route.Table {
	t := &route.Table{Ports: protocolPorts(), Backends: map[string]route.Backend{}}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Backend)) {
		t.Backends[name] = b.backend("backend."+name, b.cfg.Backend[name])
	}
	if _, ok := t.Backends[route.Default]; !ok {
		t.Backends[route.Default] = b.backend("", config.DefaultBackend())
	}
	h.programs = b.locals(t)
	for i, r := range b.cfg.Route {
		t.Rules = append(t.Rules, b.rule(fmt.Sprintf("route[%d]", i), r, t))
	}
	return t
}

func (b *builder) backend(key string, c config.Backend) route.Backend {
	mode, _ := account.ParseTLSMode(c.TLS)
	r := route.Backend{
		TLS: mode, Config: b.backendTLS(key, c),
		ConnectTimeout: time.Duration(c.ConnectTimeout), Timeout: time.Duration(c.Timeout), Mechanism: c.Login.Mechanism,
		Addrs:   map[string][]string{"": c.Addr, "imap": c.IMAP, "pop3": c.POP3},
		Trusted: c.Trusted, ProxyProtocol: c.ProxyProtocol, Separator: c.Login.Separator,
	}
	if c.ProxyProtocol > 2 {
		b.wrong("write 1 or 2, or 0 for none", key+".proxy_protocol", "there is no version %d of the PROXY header", c.ProxyProtocol)
	}
	for _, list := range []struct {
		key   string
		addrs []string
	}{{".addr", c.Addr}, {".imap", c.IMAP}, {".pop3", c.POP3}} {
		for i, addr := range list.addrs {
			if _, _, err := route.SplitHost(addr); err != nil {
				b.wrong("write it as \"imap1.example.org\" or \"imap1.example.org:1143\"", fmt.Sprintf("%s%s[%d]", key, list.key, i), "%v", err)
			}
		}
	}
	m, ok := mechanism(c.Login.Mechanism)
	if c.Login.Mechanism != "" && (!ok || !towards(m)) {
		b.wrong("leave it out, or use one of "+namesOf(those(towards)), key+".login.mechanism", "there is no mechanism %q", c.Login.Mechanism)
	}
	if m.Proven && (c.Cert == "" || c.Login.As != "user") {
		b.wrong("set cert and key, and as = \"user\"", key+".login.mechanism", "by %s the backend sees usher's own certificate, and nothing else", m.Name)
	}
	if (m.Proven || c.Login.As != "user") && !b.provesSome() {
		b.wrong("use a source that checks passwords, or as = \"user\" without EXTERNAL", key+".login",
			"nobody can log in here: accounts of type \"any\" leave passwords to the server, which would see none")
	}
	switch c.Login.As {
	case "token":
		b.mintsFor(&r, key, c.Login, m)
		return r
	case "user":
		return r
	}
	r.Master, r.MasterPassword = c.Login.Name, c.Login.Password.Reveal()
	if r.Master == "" || r.MasterPassword == "" {
		b.wrong("add name and password_file", key+".login", "a master has a name and a password")
	}
	if ok && !m.Authz && c.Login.Separator == "" {
		b.wrong("leave mechanism out, or set separator", key+".login.mechanism", "%s cannot say for whom a master logs in", m.Name)
	}
	return r
}

// backendTLS is the configuration towards a backend, also where it is not used
// by default: an account may ask for it.
func (b *builder) backendTLS(key string, c config.Backend) *tls.Config {
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: !c.Verify,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if !c.Verify {
		b.warn("leave verify out, and name the authority with ca", key+".verify", "anybody on the way to this backend can read passwords and mail")
	}
	if c.CA != "" {
		t.RootCAs = b.authorities(key+".ca", string(c.CA))
	}
	if c.Cert != "" || c.Key != "" {
		t.GetClientCertificate = b.ownCertificate(key, c)
		t.ClientSessionCache = nil // OpenSSL ends a resumed session of a client that it must know, unless the server cares for that; Dovecot 2.3 does not
	}
	return t
}

// ownCertificate is what a backend is shown that asks for it.
func (b *builder) ownCertificate(key string, c config.Backend) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c.TLS == "none" {
		b.wrong("choose another tls", key+".cert", "a certificate is shown under TLS only")
	}
	own := &certificates{log: b.log, now: time.Now}
	if err := own.add(string(c.Cert), string(c.Key)); err != nil {
		b.wrong("check that cert and key are both given, are PEM, belong together and may be read by usher", key+".cert", "%v", err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.current()[0], nil }
}

func (b *builder) rule(key string, c config.Route, t *route.Table) route.Rule {
	w := c.When
	r := route.Rule{Protocol: w.Protocol, User: w.User, Domain: w.Domain, Attrs: w.Attr, To: c.To, Program: c.Program}
	if w.Network != "" {
		var err error
		if r.Network, err = netip.ParsePrefix(w.Network); err != nil {
			b.wrong("write it as \"192.0.2.0/24\"", key+".when.network", "%q is no network", w.Network)
		}
	}
	_, isBackend := b.cfg.Backend[c.To]
	switch {
	case c.To == route.ToAccount, c.To == route.ToRefuse:
	case c.To == route.ToLocal, c.To == route.ToHome:
		b.ruleHere(key, c, t)
	case !isBackend:
		b.wrong("use account, local, home, refuse or the name of a [backend.NAME]", key+".to", "there is no backend %q", c.To)
	case !t.Backends[c.To].HasAddr():
		b.wrong("add addr to [backend."+c.To+"]", key+".to", "backend %q has no address", c.To)
	}
	return r
}

// ruleHere tells whether there is what a rule leads to on this machine.
func (b *builder) ruleHere(key string, c config.Route, t *route.Table) {
	if t.Local == nil {
		if c.To == route.ToLocal || len(t.Nodes) == 0 {
			b.wrong("set imap or pop3 in [local]", key+".to", "%q needs programs of this machine, of which there are none", c.To)
		}
		return
	}
	if _, ok := t.Local.Programs[c.Program]; c.Program != "" && !ok {
		b.wrong("add [local.program."+c.Program+"], or use "+strings.Join(slices.Sorted(maps.Keys(t.Local.Programs)), ", "), key+".program", "there is no program %q", c.Program)
	}
	if c.Program != "" && c.To != route.ToLocal {
		b.wrong("set to = \"local\", or leave program out", key+".program", "a program is chosen for logins that stay here")
	}
}
