package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A keeper accepts at ports that are another program's, until nobody has come for a
// while, so many have come as may, or the other program wants no more of us. Whoever
// comes then comes to that program again, which starts a new process.
type keeper struct {
	Given
	log  *slog.Logger
	take func(net.Conn) error // gives a client its place; on an error it is turned away
	away func(net.Conn)       // does so, and closes the connection
	busy func() bool          // somebody is here
	stay time.Duration        // how long those may stay who are here when no more come

	come    atomic.Int64
	last    atomic.Int64 // when somebody came, in nanoseconds
	full    chan struct{}
	closing sync.Once
	all     sync.WaitGroup
}

// lookIdle is how often it is looked whether nobody is there, at least.
const lookIdle = time.Second

// run returns when nobody is here any more, or with ctx.
func (k *keeper) run(ctx context.Context) {
	k.full = make(chan struct{})
	defer k.close()
	defer context.AfterFunc(ctx, k.close)()
	for _, ln := range k.Ports {
		k.all.Go(func() { k.accept(ln) })
	}
	k.wait(ctx)
	k.close()
	k.all.Wait()
	k.empty(ctx)
}

// wait returns when no more clients are to be taken.
func (k *keeper) wait(ctx context.Context) {
	every := lookIdle
	if k.Idle > 0 {
		every = min(every, max(k.Idle/10, time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	idle := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.full:
			return
		case <-k.Gone:
			return
		case <-tick.C:
		}
		if last := time.Unix(0, k.last.Load()); last.After(idle) {
			idle = last
		}
		if k.busy() {
			idle = time.Now()
		}
		if k.Idle > 0 && time.Since(idle) >= k.Idle {
			return
		}
	}
}

// close takes no more clients.
func (k *keeper) close() {
	k.closing.Do(func() {
		if k.Taken != nil {
			k.Taken() // first: whoever comes from now on is the other's
		}
		for _, ln := range k.Ports {
			_ = ln.Close()
		}
	})
}

// empty waits until nobody is here.
func (k *keeper) empty(ctx context.Context) {
	tick := time.NewTicker(lookForRest)
	defer tick.Stop()
	for end := time.Now().Add(k.stay); k.busy() && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// accept takes the clients of one port.
func (k *keeper) accept(ln *net.TCPListener) {
	for {
		nc, err := ln.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			k.log.Error("cannot accept", "addr", ln.Addr().String(), "err", err)
			time.Sleep(lookForRest) // no descriptors left: some may be soon
			continue
		}
		k.last.Store(time.Now().UnixNano())
		if n := k.come.Add(1); k.Most > 0 && n == int64(k.Most) {
			close(k.full)
		}
		if err := k.take(nc); err != nil {
			k.log.Warn("a client could not be taken", "remote", nc.RemoteAddr().String(), "err", err)
			k.away(nc)
		}
	}
}
