// Package backend opens targets: it finds a server's addresses, dials them, and
// goes on to the next when one does not answer or will not serve.
package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"usher/internal/account"
	"usher/internal/route"
	"usher/internal/wire"
)

const (
	maxReconnects = 3                // to servers that say "try again"
	pause         = time.Second      // before each of them
	sickFor       = 10 * time.Second // how long an address that failed is asked last
	forEver       = 24 * time.Hour   // to connect, if nobody has set a time
	maxBytes      = 256 << 10        // of what a server may say before it lets a login in
)

// enterFunc logs in over a fresh connection.
type enterFunc = func(context.Context, *wire.Conn, route.Stop) error

// An Opener opens targets. It is safe for concurrent use.
type Opener struct {
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) ([]string, error)   // to addresses
	Own     func(netip.AddrPort) bool                                  // whether we listen there; nil: nowhere
	Start   func(ctx context.Context, s route.Stop) (net.Conn, error)  // the program of a stop; nil: none can be started
	Visit   func(ctx context.Context, s route.Stop) (*tls.Conn, error) // the node of a stop, which has been shown its Preface; nil: there is no pool

	dialer *net.Dialer

	mu   sync.Mutex
	sick map[string]time.Time // address → until when it is asked last
}

// Dialer dials servers as they should be.
func Dialer() *net.Dialer {
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Minute, Interval: -1, Count: -1}} // the rest as the system has it
	d.SetMultipathTCP(false)
	setOptions(d)
	return d
}

// New returns an Opener that uses the system's network.
func New() *Opener {
	d := Dialer()
	return &Opener{Dial: d.DialContext, dialer: d, Resolve: net.DefaultResolver.LookupHost, sick: map[string]time.Time{}}
}

// final is an error after which no other address need be asked.
type final interface{ Final() bool }

func isFinal(err error) bool {
	var f final
	return errors.As(err, &f) && f.Final()
}

// again is an error of a server that is there, but says that it cannot serve
// now. Errors of package login say so by not being final.
func isAgain(err error) bool {
	var f final
	return errors.As(err, &f) && !f.Final()
}

// Open implements login.Backends. Servers that fail are left for the next one;
// after all have been asked, those that said "not now" are asked again a few
// times. The errors of the last round are returned.
func (o *Opener) Open(ctx context.Context, t route.Target, enter enterFunc) (*wire.Conn, error) {
	d, ok := t.(route.Dial)
	if !ok {
		panic(fmt.Sprintf("backend: no way to open a %T", t))
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	for round := 0; ; round++ {
		c, err := o.openOne(ctx, d.Stops, enter)
		if err == nil || isFinal(err) || !isAgain(err) || round == maxReconnects || !recovers(d.Stops) || !wait(ctx) {
			return c, err
		}
	}
}

// recovers tells whether it is worth while to ask again: not if there are only programs,
// which are started anew each time, and nodes that have had one started.
func recovers(stops []route.Stop) bool {
	return slices.ContainsFunc(stops, func(s route.Stop) bool { return !s.Preauth() })
}

// wait lets a server recover. It returns false if there is no time left.
func wait(ctx context.Context) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// openOne asks every address of every stop once.
func (o *Opener) openOne(ctx context.Context, stops []route.Stop, enter enterFunc) (*wire.Conn, error) {
	all, err := o.addresses(ctx, stops)
	errs := []error{err}
	for i, a := range all {
		if ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("%s: no time left: %w", a.stop, ctx.Err()))
			break
		}
		c, err := o.try(ctx, a, len(all)-i, enter)
		if err == nil {
			return c, nil
		}
		err = fmt.Errorf("%s: %w", a, err)
		if isFinal(err) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, cmp.Or(join(errs), errNoAddress)
}

// errNoAddress says that there was nobody to ask.
var errNoAddress = errors.New("no address")

// joined is several errors on one line, for the log.
type joined []error

func join(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return joined(errs)
}

func (j joined) Unwrap() []error { return j }

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// try connects to one address, of so many that are left, and logs in there.
func (o *Opener) try(ctx context.Context, a address, left int, enter enterFunc) (*wire.Conn, error) {
	if a.stop.Exec != nil {
		return o.run(ctx, a.stop, enter)
	}
	c, err := o.connect(ctx, a, left)
	if err != nil {
		o.note(a.addr, true)
		return nil, err
	}
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) { // a deadline c has itself
			c.Interrupt()
		}
	})()
	if err := enter(ctx, c, a.stop); err != nil {
		_ = c.Close()
		o.note(a.addr, isAgain(err)) // what one login met, others need not
		return nil, err
	}
	o.note(a.addr, false)
	return c, nil
}

// errOwn says that a login would come back to us, and again, and again.
var errOwn = errors.New("this is usher's own address: the account's host, the route or the backend is wrong")

// connect dials one address, begins TLS where it is implicit, and waits for the
// server's first word: a program that hangs still accepts connections.
func (o *Opener) connect(ctx context.Context, a address, left int) (*wire.Conn, error) {
	if ip, err := netip.ParseAddrPort(a.addr); err == nil && o.Own != nil && o.Own(ip) {
		return nil, errOwn
	}
	until, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, connectBy(a.stop.ConnectTimeout, until, left))
	defer cancel()
	if a.stop.Node != "" {
		return o.visit(ctx, a.stop, until)
	}
	nc, err := o.dial(ctx, a.stop.SourceIP, a.addr)
	if err != nil {
		return nil, err
	}
	if err := preface(ctx, nc, a.stop.Preface); err != nil {
		_ = nc.Close()
		return nil, err
	}
	c := wire.New(nc, wire.Bounds{Until: until, Bytes: maxBytes})
	if err := o.greet(ctx, c, a.stop); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// dial dials from an address of this machine, or from whichever the system takes.
func (o *Opener) dial(ctx context.Context, from netip.Addr, to string) (net.Conn, error) {
	if !from.IsValid() {
		return o.Dial(ctx, "tcp", to)
	}
	d := *o.dialer
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	return d.DialContext(ctx, "tcp", to)
}

// preface says what a server wants to hear before all else, in one breath, as the
// PROXY header must be sent.
func preface(ctx context.Context, nc net.Conn, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	by, _ := ctx.Deadline()
	_ = nc.SetWriteDeadline(by)
	if _, err := nc.Write(text); err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	return nil
}

func (o *Opener) greet(ctx context.Context, c *wire.Conn, s route.Stop) error {
	if s.TLS == account.TLSImplicit {
		err := c.EnterTLS(ctx, s.ClientConfig())
		if err != nil {
			return err
		}
	}
	by, _ := ctx.Deadline()
	if err := c.Await(by); err != nil {
		return fmt.Errorf("waiting for the greeting: %w", err)
	}
	return nil
}

// connectBy is when an address must have greeted us: after its own time, or its
// share of what is left for all, so that one that hangs leaves time for others.
func connectBy(own time.Duration, until time.Time, left int) time.Time {
	share := forEver
	if !until.IsZero() {
		share = time.Until(until) / time.Duration(left)
	}
	if own > 0 {
		share = min(share, own)
	}
	return time.Now().Add(share)
}
