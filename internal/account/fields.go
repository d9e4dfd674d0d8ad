package account

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/password"
)

// Fields are what a source returned for one account, by the names that
// doc/config.md lists under "Account fields". Names are lower case. An empty
// value is the same as none.
type Fields map[string]string

// aliases are further names under which existing schemas hold a field.
var aliases = map[string]string{
	"name":         "user",
	"address":      "user",
	"pass_hash":    "password",
	"userpassword": "password",
	"passwd":       "password",
	"mailhost":     "host",
	"place":        "host",
}

// Known are the fields that an Account is made of; all others are attributes.
var Known = []string{
	"user", "password", "nopassword", "host", "port", "destuser", "pass", "master", "ssl", "starttls",
	"proxy", "proxy_mech", "proxy_timeout", "nologin", "reason", "code",
}

// unsupported are fields with a meaning that this version does not act on.
// Reading over them could let in somebody who should stay out.
var unsupported = []string{
	"proxy_maybe", "nodelay", "delay_until", "allow_nets", "source_ip", "proxy_nopipelining", "passwd2", "options",
	"disableimap", "disablepop3", "disablesieve", "disableinsecureimap", "disableinsecurepop3",
}

// Codes are the values of the field "code": why an account may not log in.
var Codes = []string{"temp_fail", "authz_fail", "user_disabled", "pass_expired"}

// Account makes an Account of what a source returned for the name that was
// asked. An error names the field; it means that the source is wrong, and the
// login is then refused as temporarily unavailable.
func (f Fields) Account(asked string) (*Account, error) {
	r := reader{fields: f.canonical()}
	a := &Account{Name: asked}
	if user := r.text("user"); user != "" {
		a.Name = user
	}
	a.Proof = r.proof()
	a.Place = r.place()
	a.Denied = r.denied()
	r.rest(a)
	if a.Proof == nil && (a.Place.Password != "" || a.Place.Master != "") {
		r.fail("pass", errors.New("without a password to check, pass and master would let anybody in"))
	}
	if a.Place.Master != "" && a.Place.Password == "" {
		r.fail("master", errors.New("a master needs the field pass: its own password"))
	}
	return a, errors.Join(r.errs...)
}

// FieldName gives the name that the manual uses: in lower case, and not an alias.
func FieldName(name string) string {
	name = strings.ToLower(name)
	if to, ok := aliases[name]; ok {
		return to
	}
	return name
}

// canonical renames aliases. The field's own name wins over its aliases, and
// among these the first in the alphabet: the same row is always the same account.
func (f Fields) canonical() Fields {
	c := make(Fields, len(f))
	for _, name := range slices.Sorted(maps.Keys(f)) {
		to := FieldName(name)
		if f[name] != "" && (to == name || c[to] == "" && f[to] == "") {
			c[to] = f[name]
		}
	}
	return c
}

// reader takes fields one by one and gathers what is wrong with them.
type reader struct {
	fields Fields
	errs   []error
}

func (r *reader) fail(name string, err error) {
	r.errs = append(r.errs, fmt.Errorf("field %q: %w", name, err))
}

func (r *reader) text(name string) string {
	v := r.fields[name]
	delete(r.fields, name)
	return v
}

func (r *reader) yes(name string) bool {
	switch v := r.text(name); strings.ToLower(v) {
	case "", "n", "no", "0", "false":
		return false
	case "y", "yes", "1", "true":
		return true
	default:
		r.fail(name, fmt.Errorf("%q is neither Y nor N", v))
		return false
	}
}

// proof is nil if only the backend can tell.
func (r *reader) proof() Proof {
	hash := r.text("password")
	if r.yes("nopassword") || hash == "" {
		return nil
	}
	if err := password.Check(hash); err != nil {
		r.fail("password", err)
	}
	return Hashed{hash}
}

func (r *reader) place() Place {
	p := Place{
		User:      r.text("destuser"),
		Password:  r.text("pass"),
		Master:    r.text("master"),
		Mechanism: r.text("proxy_mech"),
	}
	if hosts := r.text("host"); hosts != "" {
		for host := range strings.SplitSeq(hosts, ",") {
			if host = strings.TrimSpace(host); host != "" {
				p.Hosts = append(p.Hosts, host)
			}
		}
		if p.Hosts == nil {
			r.fail("host", fmt.Errorf("no host in %q", hosts))
		}
	}
	if port := r.text("port"); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			r.fail("port", fmt.Errorf("%q is not a port number", port))
		}
		p.Port = uint16(n)
	}
	r.security(&p, "ssl", TLSImplicit)
	r.security(&p, "starttls", TLSStart)
	if t := r.text("proxy_timeout"); t != "" {
		d, err := time.ParseDuration(t)
		if secs, bad := strconv.ParseUint(t, 10, 16); bad == nil {
			d, err = time.Duration(secs)*time.Second, nil
		}
		if err != nil || d <= 0 {
			r.fail("proxy_timeout", fmt.Errorf("%q is not a time such as 30 (seconds) or 10s", t))
		}
		p.Timeout = d
	}
	return p
}

// security reads Dovecot's ssl and starttls: yes, any-cert, no.
func (r *reader) security(p *Place, name string, mode TLSMode) {
	if r.fields[name] == "any-cert" {
		r.fields[name] = "yes"
		p.AnyCert = true
	}
	if r.yes(name) {
		p.TLS = mode
	}
}

func (r *reader) denied() *Denied {
	d := Denied{Text: r.text("reason"), Code: r.text("code")}
	if d.Code != "" && !slices.Contains(Codes, d.Code) {
		r.fail("code", fmt.Errorf("%q is none of %s", d.Code, strings.Join(Codes, ", ")))
	}
	if r.yes("nologin") && !r.proxied() {
		return &d // with proxy=Y the login is refused here but not for the proxy, as in Dovecot
	}
	if d != (Denied{}) {
		return &d
	}
	return nil
}

// proxied reads the field proxy. This version has no local servers, so that
// proxy=N can only be a mistake.
func (r *reader) proxied() bool {
	set := r.fields["proxy"] != ""
	yes := r.yes("proxy")
	if set && !yes {
		r.fail("proxy", errors.New("proxy=N asks for a local server, which this version cannot start"))
	}
	return yes
}

// rest keeps what is left as attributes.
func (r *reader) rest(a *Account) {
	r.proxied() // unless denied has read it
	for _, name := range unsupported {
		if r.text(name) != "" {
			r.fail(name, errors.New("this version cannot act on it"))
		}
	}
	if len(r.fields) > 0 {
		a.Attrs = r.fields
	}
}
