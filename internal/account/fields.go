package account

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/password"
)

// Fields are what a source returned for one account, by the names that
// doc/config.md lists under "Account fields". Names are lower case. An empty
// value is the same as none. Several passwords, of which any will do, stand on lines
// of their own.
type Fields map[string]string

// aliases are further names under which existing schemas hold a field.
var aliases = map[string]string{
	"name":         "user",
	"address":      "user",
	"pass_hash":    "password",
	"userpassword": "password",
	"passwd":       "password",
	"passwd2":      "password",
	"maildir":      "mail",
	"mailhost":     "host",
	"place":        "host",
}

// Known are the fields that an Account is made of; all others are attributes.
var Known = []string{
	"user", "password", "nopassword", "host", "port", "destuser", "pass", "master", "ssl", "starttls",
	"proxy", "proxy_maybe", "proxy_mech", "proxy_timeout", "proxy_nopipelining", "source_ip",
	"nologin", "reason", "code", "nodelay", "delay_until", "allow_nets",
	"disableimap", "disablepop3", "disablesieve", "disableinsecureimap", "disableinsecurepop3", "options",
}

// Starred hides the secrets among the fields, but for the schemes of passwords.
func (f Fields) Starred() Fields {
	const stars = "********"
	out := maps.Clone(f)
	for name, value := range f {
		switch scheme, _, has := strings.Cut(value, "}"); {
		case FieldName(name) == "options":
			out[name] = starredOptions(value)
		case value == "" || !isSecret(name):
		case FieldName(name) == "password" && has && strings.HasPrefix(scheme, "{"):
			out[name] = scheme + "}" + stars
		default:
			out[name] = stars
		}
	}
	return out
}

// isSecret tells whether the values of a field are nobody else's business.
func isSecret(name string) bool {
	name = FieldName(name)
	for _, part := range []string{"pass", "pw", "secret", "token", "hash", "key", "cred", "otp"} {
		if strings.Contains(name, part) && name != "nopassword" {
			return true
		}
	}
	return false
}

func starredOptions(list string) string {
	items := strings.Split(list, ",")
	for i, item := range items {
		if name, _, has := strings.Cut(item, "="); has && isSecret(strings.TrimSpace(name)) {
			items[i] = name + "=********"
		}
	}
	return strings.Join(items, ",")
}

// Codes are the values of the field "code": why an account may not log in.
var Codes = []string{"temp_fail", "authz_fail", "user_disabled", "pass_expired"}

// Account makes an Account of what a source returned for the name that was
// asked. An error names the field; it means that the source is wrong, and the
// login is then refused as temporarily unavailable.
func (f Fields) Account(asked string) (*Account, error) {
	return f.account(asked, nil)
}

// account is Account; a proof takes the place of the field password.
func (f Fields) account(asked string, p Proof) (*Account, error) {
	r := reader{fields: f.canonical()}
	a := &Account{Name: asked}
	if user := r.text("user"); user != "" {
		a.Name = user
	}
	if a.Proof = r.proof(); p != nil {
		a.Proof = p
	}
	a.Place = r.place()
	proxied := r.proxied(&a.Place)
	a.Denied = r.denied(proxied)
	a.Access = r.access()
	a.States = r.states()
	if len(r.fields) > 0 {
		a.Attrs = r.fields
	}
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

// canonical renames aliases and takes options apart. The field's own name wins over
// its aliases, and among these the first in the alphabet: the same row is always the
// same account. What is a field of its own wins over an option.
func (f Fields) canonical() Fields {
	c := make(Fields, len(f))
	names := make([]string, 0, 24)
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		to := FieldName(name)
		if f[name] != "" && (to == name || c[to] == "" && f[to] == "") {
			c[to] = f[name]
		}
	}
	if options := c["options"]; options != "" {
		delete(c, "options")
		for name, value := range Options(options) {
			if to := FieldName(name); c[to] == "" {
				c[to] = value
			}
		}
	}
	if hosts := c["host"]; strings.Contains(hosts, "/") {
		c["host"] = unmasked(hosts)
	}
	return c
}

// unmasked cuts the network mask off, which PostgreSQL adds to an inet that becomes
// text: a host is what a backend may be called, and what templates make names of.
func unmasked(hosts string) string {
	list := strings.Split(hosts, ",")
	for i, host := range list {
		if p, err := netip.ParsePrefix(strings.TrimSpace(host)); err == nil {
			list[i] = p.Addr().String()
		}
	}
	return strings.Join(list, ",")
}

// Options takes Courier's list "name=value,name=value" apart. A name alone means
// yes; of two with the same name the last counts.
func Options(list string) Fields {
	f := Fields{}
	for item := range strings.SplitSeq(list, ",") {
		name, value, has := strings.Cut(strings.TrimSpace(item), "=")
		if !has {
			value = "1"
		}
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			f[name] = strings.TrimSpace(value)
		}
	}
	return f
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
	v, ok := r.fields[name]
	if ok {
		delete(r.fields, name)
	}
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
	hashes, leave := r.text("password"), r.yes("nopassword")
	if hashes == "" {
		return nil
	}
	h := Hashed{slices.DeleteFunc(strings.Split(hashes, "\n"), IsLocked)}
	switch {
	case len(h.Hashes) == 0: // it lets nobody in, whatever else is said
		return Locked{Why: "its password is locked"}
	case leave:
		return nil
	}
	var errs []error
	for _, hash := range h.Hashes {
		if err := password.Check(hash); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(h.Hashes) { // one that can be read will do
		r.fail("password", errors.Join(errs...))
	}
	return h
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
	if ip := r.text("source_ip"); ip != "" {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			r.fail("source_ip", fmt.Errorf("%q is no address", ip))
		}
		p.SourceIP = addr
	}
	r.yes("proxy_nopipelining") // each command waits for its answer anyway
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

// denied tells whether nobody may log in. With proxy=Y the field nologin says so of
// this machine, but not of the one that it leads to, as in Dovecot. A reason or a code
// without nologin refuses too, unless nologin says no in so many words: then they are
// what Dovecot takes them for, words for another day.
func (r *reader) denied(proxied bool) *Denied {
	d := Denied{Text: r.text("reason"), Code: r.text("code")}
	if d.Code != "" && !slices.Contains(Codes, d.Code) {
		r.fail("code", fmt.Errorf("%q is none of %s", d.Code, strings.Join(Codes, ", ")))
	}
	said := r.fields["nologin"] != ""
	switch nologin := r.yes("nologin"); {
	case nologin && !proxied, !said && d != (Denied{}):
		return &d
	}
	return nil
}

// proxied reads the fields proxy and proxy_maybe. A proxy=N means this machine, as in
// Dovecot. With proxy_maybe, and without both, it is the hosts that tell.
func (r *reader) proxied(p *Place) bool {
	maybe := r.yes("proxy_maybe")
	set := r.fields["proxy"] != ""
	yes := r.yes("proxy")
	p.Here = set && !yes && !maybe
	return yes || maybe
}
