// Package listen accepts connections and begins a conversation with each.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/session"
	"usher/internal/wire"
)

// keepAliveAfter is when a silent client is asked whether it is there: early
// enough for the tables of NAT routers, late enough for telephones.
const keepAliveAfter = 2 * time.Minute

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

// A Listener accepts clients of one protocol. Its fields are not changed once it
// serves.
type Listener struct {
	Net      net.Listener
	Protocol login.Protocol
	Implicit bool // TLS from the first byte
	Terms    login.Terms
	Desk     *login.Desk
	Limits   *limit.Limits
	Bounds   Bounds
	Log      *slog.Logger

	conversations sync.WaitGroup
}

// Bounds are what a client may take of us before login.
type Bounds struct {
	Login   time.Duration // for the whole login; 0: for ever
	Command time.Duration // for one command, once begun
}

// What a client may say before login. The longest honest login is far below.
const (
	maxBytes = 64 << 10
	maxLines = 200
)

// Serve accepts until ctx ends or the listener fails, and returns when all
// conversations have ended: those that wait for a client's word are told that
// usher goes down, a login on its way is finished unless abort ends.
func (l *Listener) Serve(ctx, abort context.Context) error {
	defer l.conversations.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // also if the listener fails: nobody shall wait for its clients
	closed := context.AfterFunc(ctx, func() { _ = l.Net.Close() })
	defer closed()
	for {
		nc, err := l.accept(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		l.conversations.Go(func() { l.converse(ctx, abort, nc) })
	}
}

// accept waits out what passes: no descriptors left, a client gone already.
func (l *Listener) accept(ctx context.Context) (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		nc, err := l.Net.Accept()
		var ne net.Error
		if err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) {
			return nc, err
		}
		l.Log.Error("cannot accept", "addr", l.Net.Addr().String(), "err", err, "remedy", "if files are too many: raise LimitNOFILE or ulimit -n")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// converse serves one client until it is admitted or gone.
func (l *Listener) converse(ctx, abort context.Context, nc net.Conn) {
	c := &login.Client{
		ID: session.NewID(), Protocol: l.Protocol, Terms: l.Terms,
		Remote: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()),
	}
	release, err := l.Limits.Connect(c.Remote.Addr())
	if err != nil {
		l.Log.Warn("connection refused", "id", c.ID.String(), "protocol", c.Protocol.Info().Name, "remote", c.Remote.String(), "why", err.Error())
		_ = nc.Close()
		return
	}
	defer release()
	c.Conn = wire.New(nc, l.bounds())
	defer func() { _ = c.Conn.Close() }() // nothing, if it went to the relay
	defer context.AfterFunc(ctx, c.Conn.Interrupt)()
	defer l.survive(c)
	if err := l.serve(abort, c); err != nil {
		l.Log.Debug("left before login", "id", c.ID.String(), "protocol", c.Protocol.Info().Name, "remote", c.Remote.String(), "err", err)
	}
}

// survive keeps a bug that one client has found from ending the sessions of all
// others.
func (l *Listener) survive(c *login.Client) {
	if bug := recover(); bug != nil {
		l.Log.Error("bug: a conversation panicked, please report this", "id", c.ID.String(), "protocol", c.Protocol.Info().Name,
			"remote", c.Remote.String(), "err", fmt.Sprint(bug), "stack", string(debug.Stack()))
	}
}

func (l *Listener) serve(ctx context.Context, c *login.Client) error {
	if l.Implicit {
		if err := c.StartTLS(ctx); err != nil {
			return err
		}
	}
	return c.Protocol.Serve(ctx, c, l.Desk)
}

func (l *Listener) bounds() wire.Bounds {
	b := wire.Bounds{Step: l.Bounds.Command, Bytes: maxBytes, Lines: maxLines}
	if l.Bounds.Login > 0 {
		b.Until = time.Now().Add(l.Bounds.Login)
	}
	return b
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// ServerConfig is a TLS configuration for the clients of one protocol: RFC 7301
// keeps others from being fooled into it (ALPACA).
func ServerConfig(base *tls.Config, p login.Protocol) *tls.Config {
	c := base.Clone()
	c.NextProtos = []string{p.Info().ALPN}
	return c
}
