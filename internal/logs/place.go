package logs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// A Place is where the log goes, as one text of the configuration says. Its zero value
// is logfmt on standard error.
type Place struct {
	kind     kind
	network  string // of syslog: unixgram, udp, tcp
	address  string
	secure   *tls.Config // nil: none
	facility int
	old      bool // RFC 3164
}

type kind int

const (
	kindLogfmt kind = iota
	kindAuto
	kindJSON
	kindJournal
	kindSyslog
)

// Usage says what Parse understands.
const Usage = `use auto, logfmt, json, journal, syslog, or an address: syslog+unix:///dev/log, syslog+udp://HOST:514, syslog+tcp://HOST:601, ` +
	`syslog+tls://HOST:6514`

// Parse reads the name of a place. A file that it names is read now, since later we may
// be somebody who cannot.
func Parse(text string) (Place, error) {
	words := map[string]kind{"auto": kindAuto, "logfmt": kindLogfmt, "json": kindJSON, "journal": kindJournal}
	if k, ok := words[text]; ok {
		return Place{kind: k}, nil
	}
	if text == "syslog" {
		text = "syslog+unix:///dev/log"
	}
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(u.Scheme, "syslog+") {
		return Place{}, fmt.Errorf("%.80q is no place for a log", text)
	}
	p := Place{kind: kindSyslog}
	return p, errors.Join(p.where(u), p.options(u))
}

// where reads the network and address. Ports default to the protocol's own.
func (p *Place) where(u *url.URL) error {
	ports := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"} // RFC 5426 §3.3, RFC 3195 §9.2, RFC 5425 §4.1
	scheme := strings.TrimPrefix(u.Scheme, "syslog+")
	port, remote := ports[scheme]
	switch {
	case u.User != nil || u.Fragment != "":
		return errors.New("an address of syslog has no user and no #")
	case scheme == "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return errors.New("a socket's path begins with a slash, behind syslog+unix://")
		}
		p.network, p.address, p.old = "unixgram", u.Path, true
		return nil
	case !remote:
		return fmt.Errorf("syslog does not come by %.20q: choose from unix, udp, tcp, tls", scheme)
	case u.Hostname() == "" || strings.Trim(u.Path, "/") != "":
		return errors.New("behind syslog+…:// stand a host and a port, and no path")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	p.network, p.address = scheme, net.JoinHostPort(u.Hostname(), port)
	if scheme == "tls" {
		p.network, p.secure = "tcp", &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	return nil
}

// options reads what stands behind the question mark.
func (p *Place) options(u *url.URL) (err error) {
	p.facility = mail
	values, err := url.ParseQuery(u.RawQuery)
	for name, all := range values {
		value := all[len(all)-1]
		switch name {
		case "facility":
			p.facility, err = facility(value)
		case "format":
			err = p.format(value)
		case "ca":
			err = p.authorities(value)
		default:
			err = fmt.Errorf("there is no option %.20q: choose from facility, format, ca", name)
		}
		if err != nil {
			return err
		}
	}
	return err
}

func (p *Place) format(name string) error {
	if name != "rfc5424" && name != "rfc3164" {
		return fmt.Errorf("there is no format %.20q: choose from rfc5424, rfc3164", name)
	}
	p.old = name == "rfc3164"
	return nil
}

// authorities reads who may sign the server's certificate.
func (p *Place) authorities(file string) error {
	if p.secure == nil {
		return errors.New("ca is for syslog+tls")
	}
	if !filepath.IsAbs(file) {
		return fmt.Errorf("the path of ca, %.80q, does not begin with a slash", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	p.secure.RootCAs = x509.NewCertPool()
	if !p.secure.RootCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("there is no certificate in %q", file)
	}
	return nil
}
