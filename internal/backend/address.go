package backend

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"usher/internal/route"
)

// address is one address of a stop.
type address struct {
	stop route.Stop
	addr string // IP:port
}

// String names the address, and the host name that it was found by.
func (a address) String() string {
	if a.addr == a.stop.Addr {
		return a.stop.String()
	}
	return a.stop.String() + " (" + a.addr + ")"
}

// addresses are all there are, in order, those that failed lately last.
func (o *Opener) addresses(ctx context.Context, stops []route.Stop) (all []address, err error) {
	var errs []error
	for _, s := range stops {
		if s.Exec != nil {
			all = append(all, address{s, s.Addr})
			continue
		}
		host, port, err := net.SplitHostPort(s.Addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ips := []string{host}
		if net.ParseIP(host) == nil {
			if ips, err = o.Resolve(ctx, host); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s, err))
			}
		}
		for _, ip := range ips {
			all = append(all, address{s, net.JoinHostPort(ip, port)})
		}
	}
	slices.SortStableFunc(all, func(a, b address) int { return o.isSick(a.addr) - o.isSick(b.addr) })
	return all, join(errs)
}

// Health is how one address of a stop is.
type Health struct {
	Stop route.Stop
	Addr string    // IP:port
	Sick time.Time // it failed lately, and is asked last until then; zero: it is well
}

// Health says in which order the addresses of a target would be asked now.
func (o *Opener) Health(ctx context.Context, d route.Dial) (list []Health, err error) {
	all, err := o.addresses(ctx, d.Stops)
	for _, a := range all {
		h := Health{Stop: a.stop, Addr: a.addr}
		if o.isSick(a.addr) > 0 {
			o.mu.Lock()
			h.Sick = o.sick[a.addr]
			o.mu.Unlock()
		}
		list = append(list, h)
	}
	return list, err
}

func (o *Opener) isSick(addr string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if until, ok := o.sick[addr]; ok && time.Now().Before(until) {
		return 1
	}
	return 0
}

// maxSick is how many addresses are remembered before those that may be well
// again are forgotten.
const maxSick = 1000

// note keeps what became of an address.
func (o *Opener) note(addr string, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sick) >= maxSick { // addresses that are not asked again: referrals, old accounts
		maps.DeleteFunc(o.sick, func(_ string, until time.Time) bool { return time.Now().After(until) })
	}
	if failed {
		o.sick[addr] = time.Now().Add(sickFor)
	} else {
		delete(o.sick, addr)
	}
}
