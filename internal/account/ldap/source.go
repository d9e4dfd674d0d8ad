package ldap

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"

	"usher/internal/account"
)

// A Source is a directory. It implements account.Source.
type Source struct {
	settings settings
	servers  *account.Servers[*server]
	stop     context.CancelFunc
	tended   chan struct{} // closed when nobody looks after idle connections any more
}

// A server is one of a Source.
type server struct {
	at       location
	starttls bool
	tls      *tls.Config
	service  *service
	question question
	search   *pool // connections of the service
	binds    *pool // and those on which passwords are tried
}

// encrypted tells whether TLS protects what is sent.
func (s *server) encrypted() bool {
	return s.at.scheme == "ldaps" || s.at.scheme == "ldap" && s.starttls
}

func (s *settings) open(at account.Site) (*Source, error) {
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	var names []string
	var list []*server
	for _, l := range s.servers() {
		names, list = append(names, l.String()), append(list, s.server(l, config))
	}
	ctx, cancel := context.WithCancel(context.Background())
	src := &Source{settings: *s, stop: cancel, tended: make(chan struct{})}
	src.servers = account.NewServers(at.Log, s.Timeout, probe, names, list)
	go src.tend(ctx, list)
	return src, nil
}

func (s *settings) server(l location, config *tls.Config) *server {
	one := &server{
		at: l, starttls: s.StartTLS, tls: config, question: s.question(l),
		service: &service{external: s.SASL != "", dn: s.BindDN, password: s.Password},
	}
	one.search = newPool(s.Pool, one.connectService)
	one.binds = newPool(s.Pool, one.connect)
	return one
}

// probe tells whether a server can do its work.
func probe(ctx context.Context, s *server) error {
	err := s.search.with(ctx, smallAnswer, alive)
	if code, answered := result(err); answered && !isTrouble(code) {
		return nil
	}
	return err
}

// tend looks after idle connections until ctx ends.
func (s *Source) tend(ctx context.Context, list []*server) {
	defer close(s.tended)
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, one := range list {
				one.search.tend(ctx, now)
				one.binds.tend(ctx, now)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Close implements account.Source.
func (s *Source) Close() error {
	s.stop()
	<-s.tended
	s.servers.Close()
	s.servers.Each(func(_ string, one *server) {
		one.search.close()
		one.binds.close()
	})
	return nil
}

// Ask implements account.Source.
func (s *Source) Ask(ctx context.Context, q account.Query) (rec account.Record, err error) {
	err = s.servers.Do(ctx, func(ctx context.Context, name string, one *server) error {
		entry, err := one.find(ctx, name, q)
		if err != nil {
			return err
		}
		if s.settings.Bind {
			rec.Proof = bound{s, entry.DN}
		}
		rec.Fields, err = one.question.fields(entry, q)
		return err
	})
	if err != nil {
		return account.Record{}, err
	}
	return rec, nil
}

// find is the entry of a name.
func (s *server) find(ctx context.Context, name string, q account.Query) (*ldap.Entry, error) {
	request, err := s.question.about(q)
	if err != nil {
		return nil, err
	}
	q.Trace.Asks(name, text(request))
	var found *ldap.SearchResult
	err = s.search.with(ctx, entryAnswer, func(c *ldap.Conn) (err error) {
		found, err = c.Search(request)
		return err
	})
	return s.question.only(request, found, err)
}

// Uses implements account.Source.
func (s *Source) Uses() (u account.Uses) {
	s.servers.Each(func(_ string, one *server) { u |= one.question.uses() })
	return u
}

// Health implements account.Source.
func (s *Source) Health() []account.Health { return s.servers.Health() }

// Notes implements account.Source: who listens on the way learns passwords.
func (s *Source) Notes() (notes []string) {
	s.servers.Each(func(name string, one *server) {
		if !one.encrypted() && !one.at.local() {
			notes = append(notes, fmt.Sprintf("%s: %s in clear over the network: use ldaps://, or starttls = true", name, s.settings.shown()))
		}
	})
	return notes
}

// shown is what can be heard on the way to a server without TLS.
func (s *settings) shown() string {
	switch {
	case s.Bind && s.BindDN != "":
		return "the password of bind_dn and those of the users are sent"
	case s.Bind:
		return "the passwords of the users are sent"
	case s.BindDN != "":
		return "the password of bind_dn is sent"
	}
	return "what the directory knows of a password is sent"
}
