package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"usher/internal/route"
	"usher/internal/wire"
)

// errNoStart says that nobody is there who could start programs.
var errNoStart = errors.New("this usher starts no programs: it was started without [local]; restart it")

// run has the program of a stop started, and lets it greet. One that does not let the
// login in, whatever it waits for, is ended.
func (o *Opener) run(ctx context.Context, s route.Stop, enter enterFunc) (*wire.Conn, error) {
	if o.Start == nil {
		return nil, errNoStart
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.ConnectTimeout, forEver))
	defer cancel()
	until, _ := ctx.Deadline()
	nc, err := o.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	c := wire.New(nc, wire.Bounds{Until: until, Bytes: maxBytes})
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) { // a deadline c has itself
			c.Interrupt()
		}
	})()
	if err := enter(ctx, c, s); err != nil {
		_ = c.Close()
		abandon(nc)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("the program ended before it let the client in: %w", err)
		}
		return nil, err
	}
	return c, nil
}

// abandon ends a program that has not let its client in: the end of its connection
// might not.
func abandon(nc net.Conn) {
	if a, ok := nc.(interface{ Abandon() }); ok {
		a.Abandon()
	}
}
