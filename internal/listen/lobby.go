package listen

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"usher/internal/login"
)

// A Guest is a client that somebody has accepted: a Listener, or another program.
type Guest struct {
	Conn net.Conn
	// Neighbour says that it comes from this machine, by a way that has no addresses. It
	// counts as 127.0.0.1, and is believed no more than anybody there.
	Neighbour bool
	Known     *login.Known // set if it need not show who it is
}

// neighbour is the address of a client that has none.
var neighbour = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)

// A Lobby is where clients come in that others have accepted. Services is what there
// is for them, which may change while others talk.
type Lobby struct {
	mu       sync.Mutex
	services map[Wanted]*Service
	closed   bool
	all      sync.WaitGroup
}

// Wanted is what such a client shall find: the name of a protocol, and how it is
// protected, in the words of the configuration; "": as the configuration says.
type Wanted struct{ Protocol, TLS string }

// Use has clients that come from now on find these services.
func (l *Lobby) Use(services map[Wanted]*Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.services = services
}

// Has tells whether there is what a client wants, and whether clients are taken at all.
func (l *Lobby) Has(w Wanted) (found, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.services[w] != nil, !l.closed
}

// Take begins a conversation, or refuses the client, as a Listener would. It returns
// false, and leaves the connection alone, if there is no such service, or no more
// clients are taken.
func (l *Lobby) Take(ctx, abort context.Context, w Wanted, g Guest) bool {
	l.mu.Lock()
	s := l.services[w]
	if s == nil || l.closed {
		l.mu.Unlock()
		return false
	}
	s.conversations.Add(1)
	l.all.Add(1)
	l.mu.Unlock()
	ready(g.Conn)
	next := s.receive(ctx, g)
	go func() {
		defer l.all.Done()
		defer s.conversations.Done()
		if next != nil {
			next(ctx, abort)
		}
	}()
	return true
}

// Close takes no more clients. Conversations go on; Wait waits for them.
func (l *Lobby) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Reopen takes clients again.
func (l *Lobby) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = false
}

// Wait returns when all conversations have ended. Nobody calls Take any more, or the
// lobby is closed.
func (l *Lobby) Wait() { l.all.Wait() }
