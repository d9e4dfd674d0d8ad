package relay

import (
	"errors"
	"io"
	"net"
	"sync"

	"usher/internal/relay/record"
)

// A keyedConn is TLS 1.3 over a connection whose handshake was done in another engine or
// process, for engines that block. One goroutine may read while another writes.
type keyedConn struct {
	net.Conn
	mu      sync.Mutex // of tls
	tls     *record.Conn
	writing sync.Mutex // held while records are sealed and sent, in this order
	raw     []byte     // what has come, and is not decrypted yet
	plain   []byte     // what is decrypted, and not read yet
	err     error      // behind plain
}

// newKeyedConn goes on with a leg. Keys that make no sense end it at the first word.
func newKeyedConn(l Leg) net.Conn {
	c, err := record.New(*l.Keys)
	if err != nil {
		_ = l.Conn.Close()
		return l.Conn
	}
	return &keyedConn{Conn: l.Conn, tls: c, raw: l.Ahead}
}

// Read implements net.Conn.
func (k *keyedConn) Read(b []byte) (int, error) {
	for len(k.plain) == 0 {
		if k.err != nil {
			return 0, k.err
		}
		size, err := record.Next(k.raw)
		switch {
		case err != nil:
			k.fail(err)
		case size == 0 || size > len(k.raw):
			if err := k.fetch(); err != nil {
				return 0, err
			}
		default:
			k.open(size)
		}
	}
	n := copy(b, k.plain)
	k.plain = k.plain[n:]
	return n, nil
}

// fetch reads from the socket. An error is not kept: a deadline passes.
func (k *keyedConn) fetch() error {
	if cap(k.raw)-len(k.raw) < record.MaxRecord {
		k.raw = append(make([]byte, 0, 2*record.MaxRecord), k.raw...)
	}
	n, err := k.Conn.Read(k.raw[len(k.raw):cap(k.raw)])
	k.raw = k.raw[:len(k.raw)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF // TLS has a goodbye of its own: RFC 8446 §6.1
	}
	return err
}

// open decrypts one record.
func (k *keyedConn) open(size int) {
	k.mu.Lock()
	plain, err := k.tls.Open(nil, k.raw[:size])
	owes := k.tls.Owes()
	k.mu.Unlock()
	k.plain, k.raw = plain, k.raw[size:]
	if owes {
		_ = k.send(k.tls.Due)
	}
	if err != nil {
		k.fail(err)
	}
}

// fail ends what is read, and tells the peer why.
func (k *keyedConn) fail(err error) {
	k.err = err
	if !errors.Is(err, io.EOF) {
		_ = k.send(func(b []byte) []byte { return k.tls.Complain(b, err) })
	}
}

// Write implements net.Conn.
func (k *keyedConn) Write(b []byte) (int, error) {
	if err := k.send(func(room []byte) []byte { return k.tls.Seal(room, b) }); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite says that no more will come.
func (k *keyedConn) CloseWrite() error { return k.send(k.tls.CloseNotify) }

// send seals and sends.
func (k *keyedConn) send(seal func([]byte) []byte) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	sealed := seal(nil)
	k.mu.Unlock()
	if len(sealed) == 0 {
		return nil
	}
	_, err := k.Conn.Write(sealed)
	return err
}

// Close implements net.Conn.
func (k *keyedConn) Close() error {
	k.mu.Lock()
	k.tls.Wipe()
	k.mu.Unlock()
	return k.Conn.Close()
}
