package ldap

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// A location is an LDAP URL (RFC 4516): a server, and what may be said of the search.
//
// It is read as perdition's URLs are written: %s is the name of the client, and the
// attributes count by their positions. What RFC 4516 wants percent-encoded may stand as
// it is, if it is not a question mark.
type location struct {
	scheme     string // ldap, ldaps or ldapi
	host       string // as the certificate has it
	addr       string // host:port, or the path of a socket
	base       account.Template
	attributes []string // "": nothing at this position
	scope      string
	filter     account.Template
}

// positions are the fields that the attributes of a URL are, as in perdition.
var positions = [...]string{"destuser", "host", "port"}

var scopes = map[string]int{"base": ldap.ScopeBaseObject, "one": ldap.ScopeSingleLevel, "sub": ldap.ScopeWholeSubtree}

// String names the server, as it can be given to ldapsearch -H.
func (l location) String() string {
	if l.scheme == "ldapi" {
		return "ldapi://" + url.PathEscape(l.addr)
	}
	return l.scheme + "://" + strings.ReplaceAll(l.addr, "%", "%25")
}

// local tells whether nobody else can listen on the way.
func (l location) local() bool {
	ip := net.ParseIP(l.host)
	return l.scheme == "ldapi" || l.host == "localhost" || ip != nil && ip.IsLoopback()
}

// urls are one or several, separated by blanks.
type urls []location

var (
	beginnings    = regexp.MustCompile(`(?i)(^|\s)ldap[si]?://`)
	hosts         = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	continuations = regexp.MustCompile(`\\?[ \t]*\r?\n\s*`) // as in perdition.conf
)

// UnmarshalText reads URLs from a configuration.
func (u *urls) UnmarshalText(text []byte) error {
	begins := beginnings.FindAllIndex(text, -1)
	if len(begins) == 0 || strings.TrimSpace(string(text[:begins[0][0]])) != "" {
		return errors.New("an LDAP URL begins with ldap://, ldaps:// or ldapi://")
	}
	for i, at := range begins {
		end := len(text)
		if i+1 < len(begins) {
			end = begins[i+1][0]
		}
		l, err := parseURL(string(text[at[0]:end]))
		if err != nil {
			return err
		}
		*u = append(*u, l)
	}
	return nil
}

// parseURL reads one. Its errors never show a password that somebody may have written
// before an @.
func parseURL(text string) (l location, err error) {
	text = strings.TrimSpace(continuations.ReplaceAllString(strings.TrimSpace(text), ""))
	scheme, rest, _ := strings.Cut(text, "://")
	authority, rest, _ := strings.Cut(rest, "/")
	l.scheme = strings.ToLower(scheme)
	if l.scheme == "ldapi" && authority == "" && !strings.Contains(rest, "=") { // ldapi:///run/slapd/ldapi
		authority, rest = url.PathEscape("/"+rest), ""
	}
	if err := l.server(authority); err != nil {
		return l, err
	}
	parts := strings.Split(rest, "?")
	if len(parts) > 5 {
		return l, fmt.Errorf("LDAP URL %s: too many question marks: write %%3F for one that belongs to a value", l)
	}
	parts = append(parts, "", "", "", "")
	for _, read := range []error{l.setBase(parts[0]), l.setAttributes(parts[1]), l.setScope(parts[2]), extensions(parts[4]), l.setFilter(parts[3])} {
		if read != nil {
			return l, fmt.Errorf("LDAP URL %s: %w", l, read)
		}
	}
	return l, nil
}

// server reads what stands before the path.
func (l *location) server(authority string) error {
	if strings.Contains(authority, "@") {
		return errors.New("an LDAP URL has no place for a name and a password: use bind_dn and password_file")
	}
	if l.scheme == "ldapi" {
		socket, err := url.PathUnescape(authority)
		if err != nil || socket != "" && socket[0] != '/' {
			return fmt.Errorf("%.80q is no path of a socket: write ldapi:///run/slapd/ldapi", authority)
		}
		if l.addr = path.Clean("/" + socket); l.addr == "/" {
			l.addr = "/var/run/slapd/ldapi"
		}
		return nil
	}
	u, err := url.Parse(l.scheme + "://" + authority)
	if err != nil || u.Host != authority && !strings.Contains(authority, "%") || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%.80q is no host, nor host:port, in an LDAP URL", authority)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldap": "389", "ldaps": "636"}[l.scheme]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%.20q is no port, in an LDAP URL", port)
	}
	l.host = cmp.Or(u.Hostname(), "localhost")
	ip, err := netip.ParseAddr(l.host)
	if literal := err == nil && (ip.Zone() == "" || hosts.MatchString(ip.Zone())); !literal && !hosts.MatchString(l.host) {
		return fmt.Errorf("%.80q is no host, in an LDAP URL", l.host)
	}
	l.addr = net.JoinHostPort(l.host, port)
	return nil
}
