package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// guests are the connections that are open.
type guests struct {
	mu   sync.Mutex
	here int
	none chan struct{} // closed when nobody is here any more; nil while nobody waits
}

// note is called by net/http when a connection begins or ends, among others.
func (g *guests) note(_ net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch state {
	case http.StateNew:
		g.here++
	case http.StateClosed:
		g.here--
	}
	if g.here == 0 && g.none != nil {
		close(g.none)
		g.none = nil
	}
}

// wait waits until nobody is here, or for ctx. One may wait.
func (g *guests) wait(ctx context.Context) {
	none := make(chan struct{})
	g.mu.Lock()
	if g.here == 0 {
		close(none)
	} else {
		g.none = none
	}
	g.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}
