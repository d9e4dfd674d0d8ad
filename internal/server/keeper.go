package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// A keeper accepts at ports that are another program's, until nobody has come for a
// while, so many have come as may, or the other program wants no more of us. Whoever
// comes then comes to that program again, which starts a new process.
type keeper struct {
	Given
	log   *slog.Logger
	take  func(net.Conn) error // gives a client its place; on an error it is turned away
	away  func(net.Conn)       // does so, and closes the connection
	busy  func() bool          // somebody is here
	holds bool                 // clients stay in this process
	stay  time.Duration        // how long those may stay who are here when no more come

	mu     sync.Mutex
	come   int
	last   time.Time // when somebody came
	taken  bool      // who has started us knows that somebody is here
	over   bool      // no more clients are taken
	full   chan struct{}
	accept sync.WaitGroup
}

// lookIdle is how often it is looked whether nobody is there, at least.
const lookIdle = time.Second

// run returns when nobody is here any more, or with ctx.
func (k *keeper) run(ctx context.Context) {
	k.full, k.last = make(chan struct{}), time.Now()
	defer context.AfterFunc(ctx, k.close)()
	for _, ln := range k.Ports {
		k.accept.Go(func() { k.acceptAt(ln) })
	}
	k.wait(ctx)
	k.close()
	k.accept.Wait()
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
		if k.idle() {
			return
		}
	}
}

// idle tells whether nobody has been here for long enough.
func (k *keeper) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy() {
		k.last = time.Now()
		return false
	}
	if k.taken && k.Free != nil {
		k.Free()
	}
	k.taken = false
	return k.Idle > 0 && time.Since(k.last) >= k.Idle
}

// close takes no more clients.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	k.over = true
	k.occupy() // first: whoever comes from now on is the other's
	for _, ln := range k.Ports {
		_ = ln.Close()
	}
}

// occupy tells who has started us that it is to start another process for the next
// client. It is called with mu held.
func (k *keeper) occupy() {
	if k.taken {
		return
	}
	k.taken = k.Taken == nil || k.Taken() == nil
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

// acceptAt takes the clients of one port.
func (k *keeper) acceptAt(ln *net.TCPListener) {
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
		if err := k.admit(nc); err != nil {
			k.log.Warn("a client could not be taken", "remote", nc.RemoteAddr().String(), "err", err)
			k.away(nc)
		}
	}
}

// admit takes one client. While somebody is here, Postfix's master must know so: it would
// wait for us to take the next client otherwise, also when it has asked us to take no
// more, and nobody would.
func (k *keeper) admit(nc net.Conn) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over && k.Most > 0 && k.come >= k.Most {
		return errNoMore
	}
	k.last = time.Now()
	if k.come++; k.come == k.Most {
		close(k.full)
	}
	if k.holds {
		k.occupy()
		if !k.taken {
			return errNoMore
		}
	}
	return k.take(nc)
}
