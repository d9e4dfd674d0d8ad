package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunk        = 16 << 10        // bytes read at once: one full TLS record
	clientLinger = 5 * time.Second // how long a client may take to leave after its server has
	serverLinger = time.Minute     // how long a server may go on after its client has left
	farewellTime = 2 * time.Second // how long a client may take to hear goodbye
)

// Goroutines is the reference Engine: two goroutines and two buffers for each
// pair, on every system.
type Goroutines struct {
	mu    sync.Mutex
	pairs map[uint64]*running
}

// NewGoroutines returns an engine without pairs.
func NewGoroutines() *Goroutines {
	return &Goroutines{pairs: map[uint64]*running{}}
}

// Start implements Engine.
func (e *Goroutines) Start(p Pair, done func(Stats)) {
	r := newRunning(p)
	e.mu.Lock()
	e.pairs[p.ID] = r
	e.mu.Unlock()
	go func() {
		r.run()
		e.mu.Lock()
		delete(e.pairs, p.ID)
		e.mu.Unlock()
		done(r.stats())
	}()
}

// Kick implements Engine. The goodbye is said in the background: a client that
// does not read holds nobody up.
func (e *Goroutines) Kick(id uint64, why Ending) bool {
	e.mu.Lock()
	r := e.pairs[id]
	e.mu.Unlock()
	if r == nil {
		return false
	}
	go r.dismiss(why)
	return true
}

// running is a pair on its way.
type running struct {
	client, server *end
	farewell       string
	idle           atomic.Int64 // nanoseconds; 0: never
	timer          *time.Timer  // fires when the pair may be idle
	last           atomic.Int64 // when a byte moved, in Unix nanoseconds
	quiet          atomic.Int64 // since when it may be called idle: last, or when one side left
	ended          atomic.Pointer[Ending]
	dismissal      sync.Once
}

// end is one leg of a running pair.
type end struct {
	net.Conn        // TLS if there is one, else the socket
	pending  []byte // see Leg
	left     Ending // what EOF from it means
	failed   Ending // what an error of it means
	received atomic.Uint64
	writing  sync.Mutex // held while something is written to it
	midLine  bool       // the last thing written to it did not end a line; under writing
}

func newEnd(l Leg, left, failed Ending) *end {
	e := &end{Conn: l.Conn, pending: l.Pending, left: left, failed: failed}
	if l.TLS != nil {
		e.Conn = l.TLS
	}
	return e
}

func newRunning(p Pair) *running {
	r := &running{
		client:   newEnd(p.Client, ClientLeft, ClientFailed),
		server:   newEnd(p.Server, BackendClosed, BackendFailed),
		farewell: p.Farewell,
	}
	r.idle.Store(int64(p.Idle))
	r.moved()
	return r
}

// run copies until both directions have ended, then closes both sides.
func (r *running) run() {
	r.timer = time.AfterFunc(time.Hour, r.checkIdle)
	r.watch()
	defer r.timer.Stop()
	var up sync.WaitGroup
	up.Go(func() { r.pump(r.server, r.client) })
	r.pump(r.client, r.server)
	up.Wait()
	r.close()
}

// pump copies from src to dst until src has no more to say.
func (r *running) pump(dst, src *end) {
	buf := src.pending
	src.pending = nil
	n, readErr := len(buf), error(nil)
	if n == 0 {
		buf = make([]byte, chunk)
	}
	for {
		if n > 0 {
			src.received.Add(uint64(n))
			r.moved()
			if err := dst.write(buf[:n]); err != nil {
				r.fail(dst.failed)
				return
			}
			buf = buf[:cap(buf)] // Pending may be short of its room
		}
		if readErr != nil {
			r.leave(dst, src, readErr)
			return
		}
		if len(buf) < chunk {
			buf = make([]byte, chunk)
		}
		n, readErr = src.Read(buf)
	}
}

// leave passes the end of src on to dst.
func (r *running) leave(dst, src *end, err error) {
	// Many clients close the socket without TLS's own goodbye: ErrUnexpectedEOF.
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		r.fail(src.failed)
		return
	}
	r.end(src.left)
	dst.closeWrite()
	linger := int64(serverLinger)
	if dst == r.client {
		linger = int64(clientLinger)
	}
	r.quiet.Store(time.Now().UnixNano()) // however long it was at rest before
	if limit := r.idle.Load(); limit == 0 || limit > linger {
		r.idle.Store(linger) // the other side has this long between bytes to finish
	}
	r.watch()
}

// fail ends both directions at once.
func (r *running) fail(why Ending) {
	r.end(why)
	r.close()
}

// end notes why the pair ended, and tells whether it was the first reason: that
// one stands.
func (r *running) end(why Ending) bool { return r.ended.CompareAndSwap(nil, &why) }

func (r *running) moved() {
	now := time.Now().UnixNano()
	r.last.Store(now)
	r.quiet.Store(now)
}

// watch sets the timer to the moment at which the pair would be idle.
func (r *running) watch() {
	if limit := r.idle.Load(); limit > 0 {
		r.timer.Reset(time.Until(time.Unix(0, r.quiet.Load()+limit)))
	} else {
		r.timer.Stop()
	}
}

func (r *running) checkIdle() {
	if time.Since(time.Unix(0, r.quiet.Load())) < time.Duration(r.idle.Load()) {
		r.watch()
		return
	}
	r.dismiss(Idled)
}

// dismiss ends the pair from our side. The client hears why only where the last
// line was whole: a goodbye in the middle of a message would become part of it.
// What is being written to it may end first; nothing is written behind. A second
// dismissal must not close what the first is still saying goodbye to.
func (r *running) dismiss(why Ending) {
	r.dismissal.Do(func() {
		if c := r.client; r.end(why) && r.farewell != "" {
			_ = c.SetWriteDeadline(time.Now().Add(farewellTime))
			c.writing.Lock()
			defer c.writing.Unlock()
			if !c.midLine {
				_, _ = io.WriteString(c.Conn, r.farewell)
			}
		}
		r.close()
	})
}

// close closes both sockets. It may be called more than once.
func (r *running) close() {
	_ = r.client.Close()
	_ = r.server.Close()
}

func (r *running) stats() Stats {
	return Stats{
		FromClient: r.client.received.Load(),
		FromServer: r.server.received.Load(),
		Last:       time.Unix(0, r.last.Load()),
		Ended:      *r.ended.Load(),
	}
}

func (e *end) write(b []byte) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.midLine = b[len(b)-1] != '\n'
	_, err := e.Write(b)
	return err
}

// closeWrite says that no more will come: TLS close_notify, else TCP FIN.
func (e *end) closeWrite() {
	if t, ok := e.Conn.(*tls.Conn); ok {
		_ = t.CloseWrite() // the peer answers with its own close_notify: RFC 8446 §6.1
		return
	}
	if w, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	_ = e.Close()
}
