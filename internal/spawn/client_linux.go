package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Times that the client waits.
const (
	openTime = 30 * time.Second       // for the helper to be ready
	goneTime = time.Second            // for the program's end to close after the helper died
	fullWait = 500 * time.Microsecond // at first, while the helper's queue is full
)

// A Client is a Helper in a process of its own. Processes that share its descriptor
// share the helper; it ends when the last of them has closed it.
type Client struct {
	shared *net.UnixConn // requests go in, events come out
	closed sync.Once
}

var _ Helper = (*Client)(nil)

// Open starts a helper: "PROGRAM helper". It must be called with the privileges that
// the helper is to have, before they are given up; without any, the helper can start
// programs as its own user only.
func Open(p Policy, program string) (*Client, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("helper: %w", err)
	}
	sealed, err := encode(p, maxPolicy)
	if err != nil {
		return nil, fmt.Errorf("helper: the policy: %w", err)
	}
	ours, end, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, fmt.Errorf("helper: %w", err)
	}
	theirs := os.NewFile(uintptr(end), "helper")
	defer func() { _ = theirs.Close() }()
	c, err := FromFile(ours)
	if err != nil {
		return nil, err
	}
	// From now on the kernel says who has sent a message.
	if err := unix.SetsockoptInt(end, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("helper: %w", err), c.Close())
	}
	if err := c.launch(program, theirs, sealed, p.Setuid); err != nil {
		return nil, errors.Join(fmt.Errorf("helper: %w", err), c.Close())
	}
	return c, nil
}

// launch starts the keeper and waits until its worker is ready.
func (c *Client) launch(program string, theirs *os.File, sealed []byte, setuid bool) error {
	cmd := exec.Command(program, "helper")
	cmd.Env = []string{"GOMAXPROCS=1"} // what usher's own environment says is not for programs
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := startDeprived(cmd, setuid); err != nil {
		return err
	}
	_ = theirs.Close()             // or its end would not be seen
	go func() { _ = cmd.Wait() }() // no zombie; who waits for events sees the end
	_ = c.shared.SetDeadline(time.Now().Add(openTime))
	defer func() { _ = c.shared.SetDeadline(time.Time{}) }()
	if _, err := c.shared.Write(sealed); err != nil {
		return fmt.Errorf("it ended at once: %w", err)
	}
	b := make([]byte, maxReply)
	n, err := c.shared.Read(b)
	if err != nil || n == 0 {
		return errors.Join(errors.New("it ended before it was ready: see its last words on standard error"), err)
	}
	var a answer
	if err := decode(b[:n], &a); err != nil {
		return err
	}
	_, err = a.outcome()
	return err
}

// FromFile is the client of a helper that another process has opened: the file is
// what its File returned. The client owns it from now on.
func FromFile(f *os.File) (*Client, error) {
	nc, err := connOf(f)
	if err != nil {
		return nil, fmt.Errorf("helper: %w", err)
	}
	return &Client{shared: nc}, nil
}

// File is another descriptor of the helper, for a process that goes on with it.
func (c *Client) File() (*os.File, error) { return c.shared.File() }

// Close leaves the helper to other processes, if there are any; else it ends. The
// programs that it has started go on.
func (c *Client) Close() (err error) {
	c.closed.Do(func() { err = c.shared.Close() })
	return err
}

// Start implements Helper. When ctx ends before the program has started, it hears
// the end of its input at once.
func (c *Client) Start(ctx context.Context, r Request) (net.Conn, int, error) {
	if err := r.clean(); err != nil {
		return nil, 0, err
	}
	message, err := encode(r, maxRequest)
	if err != nil {
		return nil, 0, err
	}
	nc, pid, err := c.try(ctx, message)
	if errors.Is(err, errNothingStarted) && ctx.Err() == nil {
		nc, pid, err = c.try(ctx, message) // by the worker that was started instead
	}
	if err != nil {
		return nil, 0, fmt.Errorf("start %s as uid %d: %w", r.Program, r.UID, err)
	}
	return nc, pid, nil
}

// errNothingStarted is when the helper has died before it started the program.
var errNothingStarted = errors.New("the helper ended in the middle of it, nothing was started")

// try asks once.
func (c *Client) try(ctx context.Context, message []byte) (net.Conn, int, error) {
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, 0, err
	}
	session, err := connOf(ours)
	if err != nil {
		_ = unix.Close(theirs)
		return nil, 0, err
	}
	refuseRights(session)
	pid, err := c.ask(ctx, message, theirs)
	if errors.Is(err, io.EOF) {
		err = whatBecame(session)
	}
	if err != nil {
		return nil, 0, errors.Join(err, session.Close())
	}
	return session, pid, nil
}

// refuseRights has the kernel take no descriptors from a program, whose owner may send
// one that takes long to close. Before Linux 6.16 it cannot; whoever reads a session
// must expect some.
func refuseRights(session *net.UnixConn) {
	if raw, err := session.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) })
	}
}

// ask sends a request with the program's end of the session, which it closes, and
// waits for the answer on a socket of its own: others may ask at the same time.
func (c *Client) ask(ctx context.Context, message []byte, session int) (pid int, err error) {
	reply, theirs, err := pair(unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK)
	if err != nil {
		_ = unix.Close(session)
		return 0, err
	}
	defer func() { _ = reply.Close() }()
	defer context.AfterFunc(ctx, func() { _ = reply.SetDeadline(time.Unix(1, 0)) })()
	err = c.send(ctx, message, unix.UnixRights(session, theirs))
	_, _ = unix.Close(session), unix.Close(theirs) // or the end of the helper would not be seen
	if err != nil {
		return 0, err
	}
	b := make([]byte, maxReply)
	n, err := reply.Read(b)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	}
	var a answer
	if err := decode(b[:n], &a); err != nil {
		return 0, fmt.Errorf("the helper's answer is %w", err)
	}
	return a.outcome()
}

// send puts a request into the helper's queue. While that is full it tries again:
// the socket is shared, so a deadline on it would be everybody's.
func (c *Client) send(ctx context.Context, message, rights []byte) error {
	raw, err := c.shared.SyscallConn()
	if err != nil {
		return err
	}
	for wait := fullWait; ; wait = min(2*wait, 20*time.Millisecond) {
		var sent error
		err := raw.Control(func(fd uintptr) {
			sent = unix.Sendmsg(int(fd), message, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		switch {
		case err != nil:
			return fmt.Errorf("the helper was left: %w", err)
		case errors.Is(sent, unix.EAGAIN) || errors.Is(sent, unix.ETOOMANYREFS) || errors.Is(sent, unix.EINTR):
		case sent != nil:
			return fmt.Errorf("the helper is gone (%w): restart usher", sent)
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// whatBecame tells whether a program was started by a helper that died before it
// answered: if not, nobody holds the other end of the session any more.
func whatBecame(session *net.UnixConn) error {
	_ = session.SetReadDeadline(time.Now().Add(goneTime))
	defer func() { _ = session.SetReadDeadline(time.Time{}) }()
	if _, err := session.Read(make([]byte, 1)); errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return errNothingStarted
	}
	return errors.New("the helper ended in the middle of it, and what it had begun was ended: try again")
}

// Events passes on what the programs say until ctx ends, or the helper does, which
// is an error. Of several processes that listen each hears a part.
func (c *Client) Events(ctx context.Context, hear func(Event)) error {
	_ = c.shared.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { _ = c.shared.SetReadDeadline(time.Unix(1, 0)) })()
	b := make([]byte, maxEvent)
	for {
		n, err := c.receive(b)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || n == 0:
			return fmt.Errorf("the helper is gone (%w): no program can be started until usher is restarted", errors.Join(io.EOF, err))
		}
		var e Event
		if err := decode(b[:n], &e); err != nil {
			continue // of another version: its form is not worth a session
		}
		hear(e)
	}
}

// receive waits for one event. It must never block in the kernel, as it would when
// os/exec has made the descriptor that is shared a blocking one, for a successor.
func (c *Client) receive(b []byte) (n int, err error) {
	raw, err := c.shared.SyscallConn()
	if err != nil {
		return 0, err
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, _, got = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
		return !errors.Is(got, unix.EAGAIN)
	})
	return n, errors.Join(err, got)
}

// pair returns the two ends of a socket; no program inherits them.
func pair(kind int) (ours *os.File, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), fds[1], nil
}

// connOf makes a connection of a socket, which it owns from now on.
func connOf(f *os.File) (*net.UnixConn, error) {
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no unix socket", nc.LocalAddr()), nc.Close())
	}
	return uc, nil
}
