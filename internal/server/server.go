// Package server builds usher from its configuration and runs it. It is the only
// package that knows all the others: parts.go lists what this build is made of,
// house.go and build.go translate the configuration, run.go is the life of the
// process, reload.go and upgrade.go change it while clients are there.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"usher/internal/admin"
	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/handover"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/peer"
	"usher/internal/penalty"
	"usher/internal/pool"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/session"
	"usher/internal/steward"
	"usher/internal/systemd"
	"usher/internal/tickets"
	"usher/internal/token"
	"usher/internal/trace"
)

// A Server is an usher that is ready to run. What it does is said by a house,
// which Reload replaces; what it has, ports and sessions and counts, stays.
type Server struct {
	// Ready, if set, is called once all listeners accept, with their addresses
	// in the order of the configuration.
	Ready func([]net.Addr)
	// Load reads the configuration again, for Reload; nil: it cannot.
	Load func() (*config.Config, error)
	// Again is the command line by which Upgrade starts the program on disk; nil:
	// it cannot.
	Again []string
	// Version is what commands are told.
	Version string
	// Build is what other nodes of the pool are told: differing ones are warned of.
	Build string

	log       *slog.Logger
	limits    *limit.Limits
	penalties *penalty.Penalties
	refusals  listen.Refusals
	builds    *pool.Builds
	troubles  peer.Troubles
	sessions  *session.Registry
	relay     relay.Engine
	ports     ports
	sockets   sockets
	since     time.Time

	processors  int // that we may use: see thrift.Govern
	tell        *systemd.Notifier
	admin       *admin.Server      // nil: there is none
	door        *doorway.Door      // nil: there is none
	lobby       listen.Lobby       // of clients that other programs have accepted
	helper      *helper            // who starts programs; nil: nobody does
	steward     *steward.Engine    // the relay process; nil: there is none
	heritage    *handover.Heritage // from the process that we have replaced; nil: none
	tickets     *tickets.Keys      // of TLS sessions; nil: there is no TLS
	traces      *trace.Traces
	another     string // whom to become if the usual user does not exist; ""
	room        int    // for connections of clients; 0: no bound
	descriptors int    // that may be open; 0: unknown

	memory sync.Mutex // held while what sources said is taken over, or forgotten
	former []*house   // that clients are still in

	life   sync.Mutex // held by what changes the life of the process: one at a time
	house  atomic.Pointer[house]
	state  atomic.Int32
	alone  atomic.Bool  // nobody else has our ports
	coming atomic.Int64 // sessions that the process before us has still to pass on
	drains atomic.Int64 // how long to drain, as Stop has said; negative: as the configuration says

	kicking sync.Mutex
	missed  map[session.ID]bool // were to be kicked while they were on their way to our successor

	stop               context.CancelCauseFunc // ends accepting
	accepting, aborted context.Context         // Run's: until the stop, until nobody may log in any more
	listening          sync.WaitGroup          // listeners, and whatever else must end before Run does
	adopting           sync.WaitGroup          // what takes sessions from the process before us
}

// New builds a server. The error is config.Mistakes if the configuration makes
// no sense. Nothing is opened yet.
func New(cfg *config.Config, log *slog.Logger) (*Server, error) {
	s := &Server{
		log: log, sessions: &session.Registry{}, limits: &limit.Limits{}, penalties: penalty.New(penalty.Terms{}), since: time.Now(), builds: &pool.Builds{}, tell: &systemd.Notifier{Log: log}, traces: &trace.Traces{Log: log},
		processors: runtime.GOMAXPROCS(0),
	}
	s.drains.Store(-1)
	h, err := s.build(cfg)
	s.house.Store(h)
	return s, err
}

// A builder translates the configuration and gathers what is wrong with it.
type builder struct {
	cfg      *config.Config
	refusals *listen.Refusals
	traces   *trace.Traces
	log      *slog.Logger
	mistakes config.Mistakes
	mints    map[string]*token.Mint // by backend
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

// protocolPorts are the protocols' own.
func protocolPorts() map[string]route.Ports {
	m := map[string]route.Ports{}
	for _, p := range protocols {
		m[p.Info().Name] = route.Ports{Clear: p.Info().Port, TLS: p.Info().TLSPort}
	}
	return m
}
