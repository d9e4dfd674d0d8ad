package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"usher/internal/route"
	"usher/internal/wire"
)

// errNoPool says that there is no way to other nodes.
var errNoPool = errors.New("this usher is no node of a pool")

// visit connects to another node, which has a connection ready or not, and waits for
// its first word. A connection that stood ready may be gone by the time it is used, if
// the node was started anew: then there is another try.
func (o *Opener) visit(ctx context.Context, s route.Stop, until time.Time) (*wire.Conn, error) {
	if o.Visit == nil {
		return nil, errNoPool
	}
	c, err := o.visitOnce(ctx, s, until)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		c, err = o.visitOnce(ctx, s, until)
	}
	return c, err
}

func (o *Opener) visitOnce(ctx context.Context, s route.Stop, until time.Time) (*wire.Conn, error) {
	nc, err := o.Visit(ctx, s)
	if err != nil {
		return nil, err
	}
	c := wire.Under(nc, wire.Bounds{Until: until, Bytes: maxBytes})
	by, _ := ctx.Deadline()
	if err := c.Await(by); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("waiting for the node's answer: %w", err)
	}
	return c, nil
}
