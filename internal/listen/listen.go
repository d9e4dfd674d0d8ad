// Package listen accepts connections and begins a conversation with each.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"usher/internal/login"
)

// keepAliveAfter is when a silent client is asked whether it is there: early
// enough for the tables of NAT routers, late enough for telephones.
const keepAliveAfter = 2 * time.Minute

// unacknowledged is how long a client may leave what it is sent unacknowledged:
// RFC 5482. The system's own bound is about a quarter of an hour.
const unacknowledged = 10 * time.Minute

// Own listens on an address of this machine. The error says what to do.
func Own(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP, Go's default, breaks socket options
	keepAlive(&lc)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return ln, nil
	}
	remedy := "check addr in [[listen]]"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "another program has this port (see: ss -ltnp); stop it, or choose another addr in [[listen]]"
	case errors.Is(err, syscall.EACCES):
		remedy = "ports below 1024 need root or CAP_NET_BIND_SERVICE: start as root or by systemd, or choose another addr in [[listen]]"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "this machine does not have that address (see: ip addr); choose another addr in [[listen]]"
	}
	return nil, fmt.Errorf("cannot listen on %s: %w: %s", addr, err, remedy)
}

// A Listener accepts clients on one socket. What they find there is a Service,
// which may change while others talk.
type Listener struct {
	Net net.Listener
	Log *slog.Logger

	trouble login.Brief // the log of accept

	mu      sync.Mutex
	service *Service
	resumed chan struct{} // closed by Resume; nil: not suspended
	closed  bool
}

// Use has clients that come from now on find this service.
func (l *Listener) Use(s *Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.service = s
}

// enter returns the service, with the conversation counted as one of its own.
func (l *Listener) enter() *Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.service.conversations.Add(1)
	return l.service
}

// Serve accepts until ctx ends or the socket fails, and returns when all
// conversations have ended: those that wait for a client's word are told that
// usher goes down, a login on its way is finished unless abort ends. After Close
// nobody is told anything.
func (l *Listener) Serve(ctx, abort context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	crew := newCrew()
	defer crew.wait()
	defer context.AfterFunc(ctx, func() { _ = l.Net.Close() })()
	for {
		nc, err := l.accept(ctx)
		switch {
		case ctx.Err() != nil || l.isClosed():
			if nc != nil {
				_ = nc.Close()
			}
			return nil
		case err != nil:
			cancel() // nobody shall wait for the clients of a broken socket
			return err
		}
		s := l.enter()
		next := s.receive(ctx, Guest{Conn: nc})
		if next == nil {
			s.conversations.Done()
			continue
		}
		crew.do(func() {
			defer s.conversations.Done()
			next(ctx, abort)
		})
	}
}

// Close accepts no more. Conversations go on.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = l.Net.Close()
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Suspend leaves the next clients to whom else has the socket, until Resume.
func (l *Listener) Suspend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed == nil {
		l.resumed = make(chan struct{})
		l.setDeadline(past)
	}
}

// Resume accepts again.
func (l *Listener) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resumed != nil {
		l.setDeadline(time.Time{})
		close(l.resumed)
		l.resumed = nil
	}
}

// past is a deadline that ends a waiting Accept at once.
var past = time.Unix(1, 0)

func (l *Listener) setDeadline(t time.Time) {
	if d, ok := l.Net.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(t)
	}
}

// suspended waits for Resume. It returns at once if nobody has called Suspend.
func (l *Listener) suspended(ctx context.Context) {
	l.mu.Lock()
	resumed := l.resumed
	l.mu.Unlock()
	if resumed == nil {
		return
	}
	select {
	case <-resumed:
	case <-ctx.Done():
	}
}

// accept waits out what passes: no descriptors left, a client gone already.
func (l *Listener) accept(ctx context.Context) (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		nc, err := l.Net.Accept()
		var ne net.Error
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) || !errors.As(err, &ne):
			return nc, err
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.suspended(ctx)
			wait = 5 * time.Millisecond
			continue
		}
		if others, ok := l.trouble.ToSay(time.Now()); ok {
			l.Log.Error("cannot accept", "addr", l.Net.Addr().String(), "err", err, "others", others, "remedy", "if files are too many: raise LimitNOFILE or ulimit -n")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
