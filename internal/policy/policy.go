// Package policy asks a service of the organisation whether somebody may try to log in,
// and tells it what became of the try. It speaks Dovecot's auth policy protocol, so that
// a service written for Dovecot (weakforced, for one) serves both, and counts guesses
// over all of them.
//
// The service gets no password, but a few bits of a hash of one: enough to tell guesses
// from one telephone that says the same all day, too few to find the password by.
//
// Read Before first; request.go is what the service hears, answer.go what its answers
// mean, circuit.go when it is not asked, reports.go how it is told.
package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Settings say which service is asked, when, and what an outage of it means.
type Settings struct {
	URL          *url.URL
	Header       http.Header // goes with each request
	Hash         Hash
	Timeout      time.Duration // for a question, from the wait for a connection to the end of the answer
	CA           *x509.CertPool
	Before       bool // ask before a password is looked at
	After        bool // ask again when it was right
	Report       bool // tell what became of it
	RejectOnFail bool // nobody gets in whom the service cannot be asked about
	LogOnly      bool // what it says has no effect
	Log          *slog.Logger
}

// A Login is what the service is told of one.
type Login struct {
	DeviceID  string `json:"device_id"` // what the client says of itself
	Login     string `json:"login"`
	Protocol  string `json:"protocol"`
	PWHash    string `json:"pwhash"` // of Service.Hash
	Remote    string `json:"remote"` // the client's address
	SessionID string `json:"session_id"`
	TLS       bool   `json:"tls"`
}

// A Verdict is what the service says of a login. Its zero value lets it go on.
type Verdict struct {
	Refused bool
	Wait    time.Duration // before the password is looked at
	Words   string        // of the service, for the log only: nobody knows to whom they may be shown
}

// ErrUnasked is why a login cannot be judged. It comes with RejectOnFail only.
var ErrUnasked = errors.New("the policy service cannot be asked")

// A Service is one that can be asked. A nil *Service lets everybody go on.
type Service struct {
	set       Settings
	transport *http.Transport
	circuit   circuit
	reports   reports
	faults    rarely
}

// Open returns a Service. It is asked when there is something to ask.
func Open(set Settings) *Service {
	s := &Service{set: set, transport: transport(set)}
	s.reports.begin(s)
	return s
}

// Close sends what is still to be reported, but not for long, and ends the connections.
// Nothing may be asked any more.
func (s *Service) Close() {
	if s == nil {
		return
	}
	s.reports.end(s.set.Timeout)
	s.transport.CloseIdleConnections()
}

// Hash is what the service may know of a password. Where a mechanism shows none, it is
// that of "": so Dovecot has it.
func (s *Service) Hash(login, password string) string { return s.set.Hash.of(login, password) }

// Before asks whether a password may be looked at, and when. ctx is the client's.
func (s *Service) Before(ctx context.Context, l Login) (Verdict, error) {
	if s == nil || !s.set.Before {
		return Verdict{}, nil
	}
	return s.allow(ctx, l)
}

// After asks whether somebody may come in who has shown the right password. He does not
// wait any more.
func (s *Service) After(ctx context.Context, l Login) (Verdict, error) {
	if s == nil || !s.set.After {
		return Verdict{}, nil
	}
	v, err := s.allow(ctx, l)
	v.Wait = 0
	return v, err
}

func (s *Service) allow(ctx context.Context, l Login) (v Verdict, err error) {
	err = s.ask(ctx, "allow", l, func(res *http.Response) error {
		v, err = read(res.Body)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil: // the client has gone
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnasked, context.Cause(ctx))
	case err != nil:
		s.complain(err)
		return s.unasked(err)
	case s.set.LogOnly:
		s.note(l, v)
		return Verdict{}, nil
	}
	return v, nil
}

// unasked is what an outage means.
func (s *Service) unasked(err error) (Verdict, error) {
	if !s.set.RejectOnFail || s.set.LogOnly {
		return Verdict{}, nil
	}
	return Verdict{}, fmt.Errorf("%w: %w", ErrUnasked, err)
}

// complain writes one line a minute.
func (s *Service) complain(err error) {
	others, ok := s.faults.now()
	if !ok {
		return
	}
	meanwhile := "logins go on without it"
	if s.set.RejectOnFail && !s.set.LogOnly {
		meanwhile = "nobody can log in without it"
	}
	s.set.Log.Warn("the policy service has not answered", "url", place(s.set.URL), "err", err, "meanwhile", meanwhile, "others", others)
}

// note says what would have been done.
func (s *Service) note(l Login, v Verdict) {
	if v.Refused || v.Wait > 0 {
		s.set.Log.Info("the policy service would have it otherwise", "id", l.SessionID, "protocol", l.Protocol, "remote", l.Remote,
			"user", l.Login, "refused", v.Refused, "wait", v.Wait, "msg", v.Words)
	}
}
