// Package server builds usher from its configuration and runs it. It is the only
// package that knows all the others: parts.go lists what this build is made of,
// build.go translates the configuration, run.go is the life of the process.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"usher/internal/account"
	"usher/internal/backend"
	"usher/internal/config"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
)

// A Server is an usher that is ready to run.
type Server struct {
	// Ready, if set, is called once all listeners accept, with their addresses
	// in the order of the configuration.
	Ready func([]net.Addr)

	cfg       *config.Config
	log       *slog.Logger
	certs     *certificates // towards clients; nil if there are none
	sources   []account.Open
	desk      *login.Desk
	listeners []*listen.Listener
	addrs     []string // of listeners
	sessions  *session.Registry
}

// New builds a server. The error is config.Mistakes if the configuration makes
// no sense. Nothing is opened yet.
func New(cfg *config.Config, log *slog.Logger) (*Server, error) {
	b := &builder{cfg: cfg, log: log}
	backends := backend.New()
	s := &Server{cfg: cfg, log: log, sessions: &session.Registry{}}
	l := cfg.Limit
	limits := &limit.Limits{
		LoginsPerAddress: l.LoginsPerAddress, SessionsPerUser: l.SessionsPerUser, SessionsPerUserAddress: l.SessionsPerUserAddress,
	}
	s.desk = &login.Desk{
		Mechanisms: b.mechanisms(), Towards: mechanisms,
		Limits: limits, Routes: b.routes(), Backends: backends, Sessions: s.sessions, Log: log,
		Idle: time.Duration(l.IdleTimeout), FailureDelay: time.Duration(l.FailureDelay),
	}
	backends.Own = s.listensOn
	b.listeners(s)
	b.accounts(s)
	return s, config.Join(b.mistakes)
}

// A builder translates the configuration and gathers what is wrong with it.
type builder struct {
	cfg      *config.Config
	log      *slog.Logger
	mistakes config.Mistakes
}

func (b *builder) wrong(remedy, key, what string, args ...any) {
	b.mistakes = append(b.mistakes, b.cfg.Mistake(key, fmt.Sprintf(what, args...), remedy))
}

// warn is about what works but should not stay as it is.
func (b *builder) warn(remedy, key, what string) {
	m := b.cfg.Mistake(key, what, remedy)
	if !slices.Contains(b.cfg.Warnings, m) {
		b.cfg.Warnings = append(b.cfg.Warnings, m)
	}
}

// mechanisms are those that clients may use, in the order of the configuration.
func (b *builder) mechanisms() []sasl.Mechanism {
	if len(b.cfg.Auth.Mechanisms) == 0 {
		return mechanisms
	}
	var list []sasl.Mechanism
	for i, name := range b.cfg.Auth.Mechanisms {
		m, ok := mechanism(name)
		if !ok {
			b.wrong("use some of "+mechanismNames(), fmt.Sprintf("auth.mechanisms[%d]", i), "there is no mechanism %q", name)
		}
		list = append(list, m)
	}
	return list
}

func mechanism(name string) (sasl.Mechanism, bool) {
	for _, m := range mechanisms {
		if m.Name == name {
			return m, true
		}
	}
	return sasl.Mechanism{}, false
}

func mechanismNames() (names string) {
	for i, m := range mechanisms {
		if i > 0 {
			names += ", "
		}
		names += m.Name
	}
	return names
}

func protocol(name string) login.Protocol {
	for _, p := range protocols {
		if p.Info().Name == name {
			return p
		}
	}
	return nil // config has told already
}

// hostname is our own name, for greetings: $PROXY_HOSTNAME is what Courier calls
// it.
func (b *builder) hostname() string {
	name := b.cfg.Server.Hostname
	if name == "" {
		name = os.Getenv("PROXY_HOSTNAME")
	}
	if name == "" {
		name, _ = os.Hostname()
	}
	return name
}

// Check tells whether a configuration makes sense, as New does.
func Check(cfg *config.Config) error {
	_, err := New(cfg, slog.New(slog.DiscardHandler))
	return err
}

// accounts reads the settings of the sources without opening them.
func (b *builder) accounts(s *Server) {
	hosts := slices.ContainsFunc(b.cfg.Accounts, func(a config.Accounts) bool { return a.Type != "any" })
	if !hosts && !s.desk.Routes.Leads() {
		b.warn("add a [[route]] to a backend, or addr to [backend.default]", "accounts", "nobody can log in: accounts of type \"any\" have no host, and no route leads anywhere")
	}
	for i, a := range b.cfg.Accounts {
		driver, ok := accounts[a.Type]
		if !ok {
			b.wrong("use sql or any", fmt.Sprintf("accounts[%d].type", i), "there is no account source %q", a.Type)
			continue
		}
		open, err := driver(a.Decode)
		if found, ok := errors.AsType[config.Mistakes](err); ok {
			b.mistakes = append(b.mistakes, found...)
		} else if err != nil {
			b.wrong("see doc/config.md", fmt.Sprintf("accounts[%d]", i), "%v", err)
		}
		s.sources = append(s.sources, open)
	}
}

// openAccounts opens the sources.
func (s *Server) openAccounts(ctx context.Context) (account.Chain, error) {
	var chain account.Chain
	for i, a := range s.cfg.Accounts {
		d, err := s.sources[i](ctx, string(s.cfg.Server.State))
		if err != nil {
			return nil, errors.Join(err, chain.Close())
		}
		if n, ok := d.(interface{ Notes() []string }); ok {
			for _, note := range n.Notes() {
				s.log.Warn("account source", "type", a.Type, "note", note)
			}
		}
		if len(a.Only) > 0 {
			d = account.Only{Directory: d, Domains: a.Only}
		}
		chain = append(chain, d)
	}
	return chain, nil
}

// ports are the protocols' own.
func ports() map[string]route.Ports {
	m := map[string]route.Ports{}
	for _, p := range protocols {
		m[p.Info().Name] = route.Ports{Clear: p.Info().Port, TLS: p.Info().TLSPort}
	}
	return m
}
