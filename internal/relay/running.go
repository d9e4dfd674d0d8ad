package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// running is a pair on its way.
type running struct {
	given          Pair // as it was started
	done           func(Stats)
	patience       patience
	client, server *end
	idle           atomic.Int64 // nanoseconds; 0: never
	timer          *time.Timer  // fires when the pair may be idle
	last           atomic.Int64 // when a byte moved, in Unix nanoseconds
	quiet          atomic.Int64 // since when it may be called idle: last, or when one side left
	ended          atomic.Pointer[Ending]
	fate           atomic.Int32
	parking        atomic.Pointer[parking]
}

// What we do with a pair ourselves, once.
const (
	going     int32 = iota
	dismissed       // its end is being said
	released        // it is somebody else's
)

// end is one leg of a running pair.
type end struct {
	net.Conn        // TLS if there is one, else the socket
	pending  []byte // see Leg
	left     Ending // what EOF from it means
	cut      Ending // … without TLS's goodbye
	failed   Ending // what an error of it means
	received atomic.Uint64
	writing  sync.Mutex // held while something is written to it
	midLine  bool       // the last thing written to it did not end a line; under writing
	written  uint64     // bytes; under writing
	socket   net.Conn   // under TLS too
}

func newEnd(l Leg, left, cut, failed Ending) *end {
	e := &end{Conn: l.Conn, socket: l.Conn, pending: l.Pending, left: left, cut: cut, failed: failed}
	switch {
	case l.TLS != nil:
		e.Conn = l.TLS
	case l.Keys != nil:
		e.Conn = newKeyedConn(l)
	}
	return e
}

func newRunning(p Pair, patience patience, done func(Stats)) *running {
	r := &running{
		given: p, done: done, patience: patience,
		client: newEnd(p.Client, ClientLeft, ClientCut, ClientFailed),
		server: newEnd(p.Server, BackendClosed, BackendCut, BackendFailed),
	}
	r.client.midLine = p.MidLine
	r.client.received.Store(p.Before.FromClient)
	r.server.received.Store(p.Before.FromServer)
	r.client.written = p.Before.FromServer
	r.idle.Store(int64(p.Idle))
	r.moved()
	if last := p.Before.Last; !last.IsZero() {
		r.last.Store(last.UnixNano())
		r.quiet.Store(last.UnixNano())
	}
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
	if r.fate.Load() != released {
		r.close()
	}
}

// pump copies from src to dst until src has no more to say, or the pair is released.
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
		switch {
		case errors.Is(readErr, os.ErrDeadlineExceeded):
			if r.park() {
				return
			}
		case readErr != nil:
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
	switch cut := src.cutOff(err); {
	case cut: // many clients close the socket without TLS's own goodbye
		r.end(src.cut)
		dst.shut()
	case errors.Is(err, io.EOF):
		r.end(src.left)
		dst.closeWrite()
	default:
		r.fail(src.failed)
		return
	}
	linger := int64(r.patience.server)
	if dst == r.client {
		linger = int64(r.patience.client)
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
	if r.fate.CompareAndSwap(going, dismissed) {
		r.dismiss(Idled)
	}
}

// dismiss ends the pair from our side, for whom has claimed its fate. The client
// hears why only where all that the server has said ends with a whole line and has
// left: a goodbye in the middle of a message would become part of it. What is being
// written to it may end first; nothing is written behind.
func (r *running) dismiss(why Ending) {
	defer r.close()
	if c := r.client; r.end(why) && r.given.Farewell != "" {
		_ = c.SetWriteDeadline(time.Now().Add(r.patience.farewell))
		c.writing.Lock()
		defer c.writing.Unlock()
		if !c.midLine && c.written == r.server.received.Load() && !waiting(r.server.socket) {
			_, _ = io.WriteString(c.Conn, r.given.Farewell)
		}
	}
}

// close closes both sockets. It may be called more than once.
func (r *running) close() {
	_ = r.client.Close()
	_ = r.server.Close()
}

func (r *running) stats() Stats {
	return Stats{
		ID:         r.given.ID,
		FromClient: r.client.received.Load(),
		FromServer: r.server.received.Load(),
		Last:       time.Unix(0, r.last.Load()),
		Ended:      r.why(),
	}
}

// why is why the pair has ended, or "".
func (r *running) why() Ending {
	if why := r.ended.Load(); why != nil {
		return *why
	}
	return ""
}

func (e *end) write(b []byte) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.midLine = b[len(b)-1] != '\n'
	e.written += uint64(len(b))
	_, err := e.Write(b)
	return err
}

// cutOff tells whether an end came without TLS's goodbye. crypto/tls forgives that between
// records.
func (e *end) cutOff(err error) bool {
	if t, ok := e.Conn.(*tls.Conn); ok && errors.Is(err, io.EOF) {
		s, ok := t.NetConn().(*Socket)
		return ok && s.cut
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// shut says by TCP's FIN alone that no more will come: what was cut off on its way to us is
// not called whole.
func (e *end) shut() {
	if w, ok := e.socket.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
		return
	}
	_ = e.Close()
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
