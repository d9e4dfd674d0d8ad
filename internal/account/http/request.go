package authhttp

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"usher/internal/account"
)

// ownHeaders are those that a request has, and those that only net/http may set.
var ownHeaders = []string{
	"Auth-Method", "Auth-User", "Auth-Pass", "Auth-Salt", "Auth-Protocol", "Auth-Login-Attempt", "Client-IP", "Auth-SSL",
	"Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Upgrade",
}

// methods are those of nginx that have a name and a proof.
var methods = []string{"plain", "apop", "cram-md5"}

func hasMethod(m string) bool { return slices.Contains(methods, m) }

// request is what nginx would ask, header by header and in its letters: not all who
// wrote a service know that these do not count. Client-Host is not among them, which
// nginx sends for SMTP only.
func (one *service) request(q account.Query) *http.Request {
	h := http.Header{
		"Auth-Method":        {"plain"},
		"Auth-User":          {escape(q.Name)},
		"Auth-Pass":          {escape(q.Password)},
		"Auth-Protocol":      {q.Protocol},
		"Auth-Login-Attempt": {"1"}, // a query does not know of those before
		"Client-IP":          {address(q.Remote)},
		"User-Agent":         {"usher"},
	}
	if a := q.Answer; a != nil {
		h["Auth-Method"] = []string{a.Method}
		h["Auth-Pass"] = []string{escape(digest(*a))}
		h["Auth-Salt"] = []string{a.Challenge}
	}
	if q.TLS {
		h["Auth-SSL"] = []string{"on"}
	}
	req := &http.Request{Method: http.MethodGet, URL: one.place.url, Header: h}
	if user := one.place.url.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	one.further(req)
	return req
}

// further adds the headers of the configuration. They win.
func (one *service) further(req *http.Request) {
	for name, values := range one.headers {
		delete(req.Header, http.CanonicalHeaderKey(name))
		if strings.EqualFold(name, "Host") {
			req.Host = values[0]
		} else {
			req.Header[name] = values
		}
	}
}

// digest is the proof in an answer, as RFC 1939 §7 and RFC 2195 §2 have it; the
// latter has a name and a blank before it.
func digest(a account.Answer) string {
	return a.Response[strings.LastIndexByte(a.Response, ' ')+1:]
}

// escape writes what nginx writes as %XX: control characters, blanks and the percent
// sign. All else goes as it is, also bytes above 127. DEL, which nginx sends, net/http
// does not; a service that undoes the rest undoes it too.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c == '%' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// address is that of the client. There is none when an administrator asks.
func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return "0.0.0.0"
	}
	return a.Addr().Unmap().WithZone("").String()
}

// shown is the request for "usher explain", without its secrets.
func (one *service) shown(q account.Query) string {
	h := one.request(q).Header
	lines := []string{"GET " + one.place.String()}
	for _, name := range []string{"Auth-Method", "Auth-User", "Auth-Protocol", "Client-IP", "Auth-SSL"} {
		if v, ok := h[name]; ok {
			lines = append(lines, name+": "+v[0])
		}
	}
	return strings.Join(lines, "\n")
}
