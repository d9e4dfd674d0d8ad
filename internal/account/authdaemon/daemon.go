package authdaemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"usher/internal/account"
)

// A daemon is where authdaemond listens. There is a connection for each question.
type daemon struct {
	socket string
	slots  chan struct{} // one for each question that may be under way; nil: no limit
}

func newDaemon(socket string, pool int) *daemon {
	d := &daemon{socket: socket}
	if pool > 0 {
		d.slots = make(chan struct{}, pool)
	}
	return d
}

// ask sends a question and reads the reply. no is the error if that is FAIL.
func (d *daemon) ask(ctx context.Context, text string, no error) (account.Fields, error) {
	if d.slots != nil {
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for one of %d connections to authdaemond: %w", cap(d.slots), ctx.Err())
		}
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", d.socket)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, advice(err))
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })() // it ends what waits
	_, wrong := io.WriteString(c, text)
	f, err := read(c, no) // even if not all was written: it may have said no before
	if isSilence(err) && wrong != nil && ctx.Err() == nil {
		return nil, silence{wrong}
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("reply of authdaemond: %w", ctx.Err())
	}
	return f, err
}

// probe tells whether authdaemond answers: the name can be nobody's (RFC 6761 §6.4).
func (d *daemon) probe(ctx context.Context) error {
	_, err := d.ask(ctx, "PRE . imap usher-probe@usher.invalid\n", account.ErrUnknown)
	if errors.Is(err, account.ErrUnknown) {
		return nil
	}
	return err
}

// advice is what to do about a socket that cannot be opened.
func advice(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "; start authdaemond, or say with the key socket where it listens"
	case errors.Is(err, os.ErrPermission):
		return "; let usher's user into the folder of the socket, for instance by the group courier"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; start authdaemond"
	case errors.Is(err, syscall.EAGAIN):
		return "; too many wait for authdaemond: raise daemons in authdaemonrc"
	}
	return ""
}
