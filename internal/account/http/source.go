package authhttp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"usher/internal/account"
)

// A source asks several services with the same accounts, or one.
type source struct {
	services *account.Servers[*service]
	notes    []string
}

func (s settings) open(at account.Site, places []place, headers map[string][]string) (account.Source, error) {
	security, err := s.security()
	if err != nil {
		return nil, err
	}
	var names []string
	var list []*service
	src := &source{}
	for _, p := range places {
		names = append(names, p.String())
		list = append(list, &service{place: p, headers: headers, showReason: s.ShowReason, transport: s.transport(p, security)})
		if p.clear() {
			src.notes = append(src.notes, fmt.Sprintf("%s: passwords go there in clear; use https", p))
		}
	}
	src.services = account.NewServers(at.Log, s.Timeout, func(ctx context.Context, one *service) error { return one.probe(ctx) }, names, list)
	return src, nil
}

// Ask implements account.Source.
func (s *source) Ask(ctx context.Context, q account.Query) (rec account.Record, err error) {
	if q.Password == "" && q.Answer == nil {
		return rec, errNothingShown
	}
	if q.Answer != nil && !hasMethod(q.Answer.Method) {
		return rec, fmt.Errorf("auth_http has no way to ask about %.40q; do not offer this mechanism", q.Answer.Method)
	}
	err = s.services.Do(ctx, func(ctx context.Context, name string, one *service) error {
		q.Trace.Asks(name, one.shown(q))
		rec, err = one.ask(ctx, q)
		return err
	})
	return rec, err
}

// errNothingShown is a refusal too: no password is never the right one.
var errNothingShown = fmt.Errorf("%w: the service can be asked together with a password only, and there is none", account.ErrRefused)

// Uses is for account.Source. The service hears whether there is TLS, not whether
// the client is on this machine.
func (s *source) Uses() account.Uses {
	return account.UsesPassword | account.UsesProtocol | account.UsesRemote | account.UsesTLS
}

// Notes is for account.Source.
func (s *source) Notes() []string { return s.notes }

// Health is for account.Source.
func (s *source) Health() []account.Health { return s.services.Health() }

// Close ends the probes and the connections.
func (s *source) Close() error {
	s.services.Close()
	s.services.Each(func(_ string, one *service) { one.transport.CloseIdleConnections() })
	return nil
}

// ask asks a service until it has decided. One that answers others as it should has
// trouble with this question only: it is not left for the next.
func (one *service) ask(ctx context.Context, q account.Query) (account.Record, error) {
	for {
		a, err := one.get(ctx, q)
		_, isOdd := errors.AsType[oddAnswer](err)
		switch {
		case isOdd && one.probe(ctx) == nil:
			return account.Record{}, account.Final(err)
		case err != nil:
			return account.Record{}, err
		case !a.wait:
			return a.record(one.showReason)
		}
		if err := pause(ctx, a.seconds); err != nil {
			return account.Record{}, err
		}
	}
}

// leastPause is how long a service is left alone that wants to be asked again.
const leastPause = time.Second

// pause waits as long as a service wants, if there is time for it.
func pause(ctx context.Context, seconds time.Duration) error {
	seconds = max(seconds, leastPause)
	if end, has := ctx.Deadline(); has && time.Until(end) < seconds {
		return account.Final(fmt.Errorf("it answers Auth-Status: WAIT and wants to be asked again in %s, later than the key timeout allows", seconds))
	}
	timer := time.NewTimer(seconds)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nobody is asked about to see whether a service answers: neither the name nor the
// address can be anybody's (RFC 6761 §6.4, RFC 5737).
var nobody = account.Query{
	Name: "usher-probe@usher.invalid", Password: "none", Protocol: "imap",
	Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 0),
}

// probe tells whether a service answers as it should.
func (one *service) probe(ctx context.Context) error {
	_, err := one.get(ctx, nobody)
	return err
}

// Examine implements account.Examiner.
func (s *source) Examine(ctx context.Context, report func(what string, err error)) {
	s.services.Each(func(name string, one *service) {
		ctx, cancel := context.WithTimeout(ctx, examineTime)
		defer cancel()
		report(name, one.examine(ctx))
	})
}

const examineTime = 10 * time.Second // for each service

func (one *service) examine(ctx context.Context) error {
	a, err := one.get(ctx, nobody)
	if err == nil && a.ok && !a.unchecked() {
		return fmt.Errorf("it lets %q in with any password: a service that leaves the check to the mail server has to say so, with the header Nopassword: Y", nobody.Name)
	}
	return err
}
