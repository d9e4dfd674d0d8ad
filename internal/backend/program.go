package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"usher/internal/route"
	"usher/internal/wire"
)

// errNoStart says that nobody is there who could start programs.
var errNoStart = errors.New("this usher starts no programs: it was started without [local]; restart it")

// run has the program of a stop started, and lets it greet.
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
		_ = c.Close() // whatever it waits for, the helper ends it
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("the program ended before it let the client in: %w", err)
		}
		return nil, err
	}
	return c, nil
}
