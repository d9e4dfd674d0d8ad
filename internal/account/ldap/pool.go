package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// A pool lends connections to one server, each to one request at a time.
type pool struct {
	open  func(context.Context) (*conn, error)
	slots chan struct{} // one for each connection that there may be; nil: any number

	mu     sync.Mutex
	idle   []*conn // the one used last is last
	closed bool
}

// newPool makes a pool of at most size connections; 0: any number.
func newPool(size int, open func(context.Context) (*conn, error)) *pool {
	p := &pool{open: open}
	if size > 0 {
		p.slots = make(chan struct{}, size)
	}
	return p
}

// with makes a request. If an idle connection turns out to be dead it is made once more,
// on a new one.
func (p *pool) with(ctx context.Context, answer int64, request func(*ldap.Conn) error) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer p.leave()
	if ctx.Err() != nil { // also when there was a slot
		return context.Cause(ctx)
	}
	began := time.Now()
	if c := p.last(); c != nil {
		err := p.on(ctx, c, answer, request)
		if !errors.Is(err, errLost) {
			return err
		}
		drop(p.take(func(c *conn) bool { return c.used.Before(began) })) // they are no better
	}
	c, err := p.open(ctx)
	if err != nil {
		return err
	}
	return p.on(ctx, c, answer, request)
}

// on makes a request on a connection, and takes it back.
func (p *pool) on(ctx context.Context, c *conn, answer int64, request func(*ldap.Conn) error) error {
	err := c.do(ctx, answer, request)
	c.needed = c.used
	p.put(c, false)
	return err
}

// enter waits until there may be one connection more.
func (p *pool) enter(ctx context.Context) error {
	if p.slots == nil {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are in use (see the key pool): %w", cap(p.slots), context.Cause(ctx))
	}
}

func (p *pool) leave() {
	if p.slots != nil {
		<-p.slots
	}
}

// last takes the idle connection that was used last, and forgets those that the server
// has closed.
func (p *pool) last() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.usable() {
			return c
		}
	}
	return nil
}

// put keeps a connection, if it is good for another request: as the next one to be used,
// or as the last.
func (p *pool) put(c *conn, last bool) {
	p.mu.Lock()
	keep := c.usable() && !p.closed
	switch {
	case keep && last:
		p.idle = slices.Insert(p.idle, 0, c)
	case keep:
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.end()
	}
}

// take takes idle connections out.
func (p *pool) take(match func(*conn) bool) (list []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if match(c) {
			list = append(list, c)
			return true
		}
		return false
	})
	return list
}

func drop(list []*conn) {
	for _, c := range list {
		c.end()
	}
}

const (
	tendEvery = 30 * time.Second // how often idle connections are looked at
	tendTime  = 2 * time.Second  // how long a server may take to say that it is there
	keepIdle  = 10 * time.Minute // how long a connection is kept that nobody needs
)

// tend closes what nobody needs, and asks on each connection that was silent for long
// whether somebody is there: else a login would find out, and wait.
func (p *pool) tend(ctx context.Context, now time.Time) {
	drop(p.take(func(c *conn) bool { return now.Sub(c.needed) > keepIdle }))
	silent := p.take(func(c *conn) bool { return now.Sub(c.used) > tendEvery })
	for _, c := range slices.Backward(silent) {
		p.ping(ctx, c)
	}
}

// ping asks on a connection that counts again while it is asked.
func (p *pool) ping(ctx context.Context, c *conn) {
	ctx, cancel := context.WithTimeout(ctx, tendTime)
	defer cancel()
	if err := p.enter(ctx); err != nil {
		c.end() // the others have had work to do for all that time
		return
	}
	defer p.leave()
	_ = c.do(ctx, smallAnswer, alive)
	p.put(c, true)
}

// alive asks for no attribute (RFC 4511 §4.5.1.8) of the root DSE: any answer will do.
func alive(c *ldap.Conn) error {
	_, err := c.Search(&ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"}, SizeLimit: 1, EnforceSizeLimit: true})
	return err
}

// close ends the idle connections, and others once they are given back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	drop(p.take(func(*conn) bool { return true }))
}
