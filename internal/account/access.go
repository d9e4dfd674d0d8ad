package account

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Access says when, from where and for what an account may be used.
type Access struct {
	Nets     []netip.Prefix // of the client; none: from everywhere
	Local    bool           // Nets has "local": clients of this machine
	Disabled []string       // protocols that it may not use, …
	Insecure []string       // … and those that it may not use in clear
	NoDelay  bool           // a refusal need not wait
	Until    time.Time      // a login waits until then …
	Spread   time.Duration  // … and by chance so much longer
}

// mostDelay is how far in the future delay_until may be.
const mostDelay = 5 * time.Minute

// Refuses tells why the account may not be used for this query, though the password
// is right; nil: it may. An error wraps ErrRefused where a stranger must not learn
// that it was.
func (a *Account) Refuses(q Query) (*Denied, error) {
	x := a.Access
	switch {
	case !x.admits(q.Remote.Addr().Unmap()):
		return nil, fmt.Errorf("%w: allow_nets does not have %s", ErrRefused, q.Remote.Addr().Unmap())
	case a.Denied != nil:
		return a.Denied, nil
	case slices.Contains(x.Disabled, q.Protocol):
		return &Denied{Code: "authz_fail", Text: "This account may not use " + strings.ToUpper(q.Protocol) + "."}, nil
	case slices.Contains(x.Insecure, q.Protocol) && !q.Secured():
		return &Denied{Code: "authz_fail", Text: "This account may use " + strings.ToUpper(q.Protocol) + " under TLS only."}, nil
	}
	return nil, nil
}

func (x Access) admits(remote netip.Addr) bool {
	if len(x.Nets) == 0 && !x.Local || x.Local && remote.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(x.Nets, func(p netip.Prefix) bool { return p.Contains(remote) })
}

// Wait is how long a login has to wait. An error means that the source asks for more
// than can be meant.
func (x Access) Wait(now time.Time) (time.Duration, error) {
	wait := x.Until.Sub(now)
	switch {
	case x.Until.IsZero() || wait <= 0:
		return 0, nil
	case wait > mostDelay:
		return 0, fmt.Errorf("field \"delay_until\": %s is more than %s from now", x.Until.Format(time.RFC3339), mostDelay)
	case x.Spread > 0:
		wait += rand.N(x.Spread)
	}
	return wait, nil
}

// access reads the fields of Access.
func (r *reader) access() Access {
	x := Access{NoDelay: r.yes("nodelay")}
	r.nets(&x)
	r.delay(&x)
	for _, p := range disabling {
		if r.yes(p.disable) {
			x.Disabled = append(x.Disabled, p.protocol)
		}
		if r.yes(p.insecure) {
			x.Insecure = append(x.Insecure, p.protocol)
		}
	}
	return x
}

// disabling are the fields about single protocols.
var disabling = []struct{ protocol, disable, insecure string }{
	{"imap", "disableimap", "disableinsecureimap"},
	{"pop3", "disablepop3", "disableinsecurepop3"},
	{"sieve", "disablesieve", "disableinsecuresieve"},
}

// nets reads allow_nets: networks and addresses, separated by commas.
func (r *reader) nets(x *Access) {
	list := r.text("allow_nets")
	if list == "" {
		return
	}
	for item := range strings.SplitSeq(list, ",") {
		switch item = strings.TrimSpace(item); item {
		case "":
		case "local":
			x.Local = true
		default:
			p, err := netip.ParsePrefix(item)
			if a, bad := netip.ParseAddr(item); bad == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil {
				r.fail("allow_nets", fmt.Errorf("%q is neither an address nor a network", item))
			}
			x.Nets = append(x.Nets, p)
		}
	}
}

// delay reads delay_until: seconds since 1970, and behind a + the most that chance
// may add.
func (r *reader) delay(x *Access) {
	text := r.text("delay_until")
	if text == "" {
		return
	}
	until, spread, spreads := strings.Cut(text, "+")
	at, err := strconv.ParseInt(until, 10, 64)
	var more uint64
	if spreads && err == nil {
		more, err = strconv.ParseUint(spread, 10, 16)
	}
	x.Until, x.Spread = time.Unix(at, 0), time.Duration(more)*time.Second
	if err != nil || at <= 0 || x.Spread > mostDelay {
		r.fail("delay_until", errors.New("it is not a time in seconds since 1970, or one with the most that chance may add, as 1700000000+5"))
	}
}
