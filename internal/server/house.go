package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"usher/internal/account"
	"usher/internal/auth"
	"usher/internal/backend"
	"usher/internal/config"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/password"
	"usher/internal/policy"
	"usher/internal/pool"
	"usher/internal/sasl"
)

// A house is all that one configuration says. A reload builds another one, into
// which the clients that come next are let; the old one is left to those who are
// in it.
type house struct {
	cfg      *config.Config
	certs    *certificates   // towards clients; nil if there are none
	tls      []*tls.Config   // towards clients
	clients  *auth.Authority // who signs clients' certificates; nil: they are not asked for
	names    auth.Names      // how clients' names are read
	auth     *auth.Auth      // over the chain, once it is opened
	sources  []source
	opened   []*openSource
	chain    account.Chain // of those that are opened
	masters  account.Chain // … of those whose accounts are masters'
	programs *programs     // of [local]; nil: there are none
	tokens   tokens
	networks limit.Networks
	policy   *policy.Settings // nil: there is no such service
	desk     *login.Desk
	services []service
	node     *pool.Node                        // of a pool; nil: it is none
	peers    *pool.Peers                       // the way to the others
	lobby    map[listen.Wanted]*listen.Service // for clients that other programs have accepted
}

// A service is what clients find at an address.
type service struct {
	*listen.Service
	port string // the name of its socket: addr, or addr#2 if it is named twice
	addr string
}

// build translates a configuration. The error is config.Mistakes if it makes no
// sense. Nothing is opened yet.
func (s *Server) build(cfg *config.Config) (*house, error) {
	b := &builder{cfg: cfg, refusals: &s.refusals, traces: s.traces, log: s.log}
	h := &house{cfg: cfg, names: b.names(), clients: b.clientAuthority()}
	backends := backend.New()
	backends.Own, backends.Start = s.listensOn, s.starter(h)
	h.desk = &login.Desk{
		Mechanisms: b.mechanisms(), Towards: those(towards), Name: h.name,
		Limits: s.limits, Penalties: s.penalties, Routes: b.routes(h), Backends: backends, Sessions: s.sessions, Log: s.log,
		Build: s.Build, Idle: time.Duration(cfg.Limit.IdleTimeout), FailureDelay: time.Duration(cfg.Limit.FailureDelay),
	}
	h.tokens = tokens{settings: b.clientTokens(), mints: b.mints}
	h.desk.Mint = h.mintToken
	h.networks, h.policy = b.limits(), b.policy()
	b.listeners(h)
	b.ident(h)
	b.pool(h, s.builds, &s.troubles, backends)
	b.accounts(h)
	b.logPlace()
	return h, config.Join(b.mistakes)
}

// name is who a client says that it is.
func (h *house) name(c *login.Client, authz, written string) string {
	return h.auth.Named(authz, written, c.Terms.Domain)
}

// open opens what stands behind the doors. What it has opened is closed again if
// something else cannot be.
func (h *house) open(ctx context.Context, log *slog.Logger, processors int) error {
	if h.certs != nil {
		h.certs.current() // says now, not on the day of the renewal, if we may not read them any more
	}
	for _, s := range h.sources {
		o, err := s.start(ctx, string(h.cfg.Server.State), log)
		if err != nil {
			return errors.Join(err, h.closeSources())
		}
		h.opened = append(h.opened, o)
		if s.cfg.Master {
			h.masters = append(h.masters, o.directory)
			continue
		}
		h.chain = append(h.chain, o.directory)
	}
	if err := h.authenticate(processors); err != nil {
		return err
	}
	if h.policy != nil {
		h.desk.Policy = policy.Open(*h.policy)
	}
	return nil
}

// authenticate puts the account sources behind the desk.
func (h *house) authenticate(processors int) error {
	decoy, err := password.Make(password.Default, "nobody's")
	if err != nil {
		return errors.Join(err, h.closeSources())
	}
	h.auth = auth.New(h.chain, decoy, processors)
	h.auth.Names = h.names
	if len(h.masters) > 0 {
		h.auth.Masters, h.auth.Separator = h.masters, h.cfg.Auth.MasterSeparator
	}
	h.openTokens()
	h.desk.Verifier = func(c *login.Client) sasl.Verifier {
		return h.auth.Verifier(c.Query(), c.Terms.Domain)
	}
	return nil
}

// close lets those who are in it finish, and closes what stood behind the doors.
func (h *house) close() {
	h.part()
	for _, s := range h.services {
		s.Wait()
	}
	for _, s := range h.lobby {
		s.Wait()
	}
	h.desk.Policy.Close()
	_ = h.closeSources()
	h.closeTokens()
}

func (h *house) closeSources() error { return errors.Join(h.chain.Close(), h.masters.Close()) }
