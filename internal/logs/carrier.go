package logs

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

const (
	dialTime = 10 * time.Second
	// writeTime is how long a stream may take no byte. Soon would be wrong: with the
	// connection all goes that is on its way, and nobody could say how much.
	writeTime = time.Minute
)

// A dial connects to a place. The context may end it.
type dial func(ctx context.Context) (net.Conn, error)

func (p Place) dial() dial {
	d := &net.Dialer{Timeout: dialTime}
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTime) // the handshake, too
		defer cancel()
		if p.secure != nil {
			return (&tls.Dialer{NetDialer: d, Config: p.secure}).DialContext(ctx, p.network, p.address) // RFC 5425 §5.1
		}
		return d.DialContext(ctx, p.network, p.address)
	}
}

// A carrier brings lines to their place, over one connection after the other.
type carrier struct {
	dial  dial
	frame func([]byte) []byte

	conn net.Conn // nil: there is none
	free func()   // what belongs to it
}

// carry brings one line. After an error the line may be tried again: what has arrived of
// it was not whole. Nothing tells us when what arrived was not written there.
func (c *carrier) carry(ctx context.Context, line []byte) error {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil {
		_, err = c.conn.Write(c.frame(line))
	}
	if err != nil {
		c.close()
	}
	return err
}

func (c *carrier) connect(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // nothing is waited for any more
	listened := make(chan struct{})
	if isDatagram(conn) {
		close(listened)
	} else {
		go listenTo(conn, listened)
	}
	c.conn, c.free = conn, func() { stop(); _ = conn.Close(); <-listened }
	return nil
}

func isDatagram(conn net.Conn) bool {
	network := conn.RemoteAddr().Network()
	return network == "udp" || network == "unixgram"
}

// listenTo closes a stream that the server has closed: else the next line would be
// written to nobody, without an error.
func listenTo(conn net.Conn, done chan<- struct{}) {
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	close(done)
}

func (c *carrier) close() {
	if c.conn != nil {
		c.free()
		c.conn = nil
	}
}
