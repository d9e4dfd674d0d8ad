// Package handover passes listening sockets and sessions from one usher to the
// usher that replaces it: over a socket between the two, that the new one
// inherits, as messages in JSON with the descriptors beside them.
//
// The old process calls Start, Give for its sockets and Move for each session;
// the new one Predecessor, Take, Ready and Adopt. Read message.go for the words
// between them.
package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
	"usher/internal/session"
)

// A Port is a listening socket, by the name that the configuration gives it.
type Port struct {
	Name     string
	Listener *net.TCPListener
}

// A Session is a login that goes on in another process.
type Session struct {
	session.Session
	Pair relay.Pair
}

// variable tells a process that it replaces another, and by which descriptor it
// reaches it.
const variable = "USHER_HANDOVER"

// A Successor is the process that replaces this one. It is used by one goroutine.
type Successor struct {
	conn
	PID    int
	exited chan struct{} // closed when it has
	end    error         // how; once exited is closed
	cmd    *exec.Cmd
}

// Start runs a program as the successor of this process. It inherits standard
// error, so that both write one log.
func Start(program string, args, env []string) (*Successor, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Env = append(env, variable+"=3")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start the successor: %w", err)
	}
	s := &Successor{conn: conn{ours}, PID: cmd.Process.Pid, exited: make(chan struct{}), cmd: cmd}
	go s.wait()
	return s, nil
}

func (s *Successor) wait() {
	s.end = s.cmd.Wait()
	close(s.exited)
}

// pair returns the two ends of a socket that keeps messages apart.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("handover: socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "handover")
	ours, err = connOf(os.NewFile(uintptr(fds[0]), "handover"))
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Give passes the sockets on and returns once the successor accepts on them. An
// error means that it does not, and never will: it has been ended, at the latest
// when ctx ends.
func (s *Successor) Give(ctx context.Context, ports []Port, within time.Duration) error {
	defer context.AfterFunc(ctx, func() { _ = s.nc.Close() })()
	err := s.give(ports, within)
	if err == nil {
		return nil
	}
	select {
	case <-s.exited:
		err = fmt.Errorf("the new process ended (%s): see its last lines in the log", s.cmd.ProcessState)
	case <-time.After(goneSoon):
	}
	s.Abandon()
	return err
}

// goneSoon is how long a process whose connection broke may take to be gone.
const goneSoon = time.Second

func (s *Successor) give(ports []Port, within time.Duration) error {
	_ = s.nc.SetDeadline(time.Now().Add(within))
	defer func() { _ = s.nc.SetDeadline(time.Time{}) }()
	if err := s.send(message{Kind: hello, Format: format, Ports: len(ports)}); err != nil {
		return err
	}
	for _, p := range ports {
		if err := s.sendWith(message{Kind: port, Name: p.Name}, p.Listener); err != nil {
			return err
		}
	}
	_, err := s.expect(ready)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the new process was not ready within %s", within)
	}
	return err
}

// Move passes a session on and returns once the successor serves it. After an
// error there is no use in moving others; moved tells whether this one has gone
// all the same: what was sent to a process that is slow is its own.
func (s *Successor) Move(m Session) (moved bool, err error) {
	_ = s.nc.SetDeadline(time.Now().Add(moveTime))
	defer func() { _ = s.nc.SetDeadline(time.Time{}) }()
	if err := s.sendWith(sessionMessage(m), m.Pair.Client.Conn, m.Pair.Server.Conn); err != nil {
		return false, fmt.Errorf("move session %s: %w", m.ID, err)
	}
	if _, err := s.expect(adopted); err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded), fmt.Errorf("move session %s: %w", m.ID, err)
	}
	return true, nil
}

// Alone tells the successor that this process has given up its sockets.
func (s *Successor) Alone() error { return s.send(message{Kind: alone}) }

// moveTime is how long the successor may take for one session.
const moveTime = 10 * time.Second

// Failed tells whether the successor has ended otherwise than in order.
func (s *Successor) Failed() bool {
	select {
	case <-s.exited:
		return s.end != nil
	default:
		return false
	}
}

// Finish says that there is nothing more to come.
func (s *Successor) Finish() { _ = s.nc.Close() }

// Abandon ends the successor.
func (s *Successor) Abandon() {
	_ = s.nc.Close()
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// A Heritage is what a process gets from the one that it replaces. It is used by
// one goroutine, but for Leave.
type Heritage struct{ conn }

// Predecessor returns the connection to the process that this one replaces, or
// nil if there is none.
func Predecessor() (*Heritage, error) {
	word, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(variable)
	fd, err := strconv.Atoi(word)
	if err != nil || fd <= syscall.Stderr { // those have other uses, and would be closed
		return nil, fmt.Errorf("the environment variable %s is %q, no descriptor of a predecessor: unset it", variable, word)
	}
	unix.CloseOnExec(fd)
	nc, err := connOf(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return nil, err
	}
	return &Heritage{conn{nc}}, nil
}

// Take returns the sockets that the predecessor listens on. Those that are not
// needed must be closed.
func (h *Heritage) Take() (ports []Port, err error) {
	defer func() {
		if err != nil {
			for _, p := range ports {
				_ = p.Listener.Close()
			}
		}
	}()
	m, err := h.expect(hello)
	if err != nil {
		return nil, err
	}
	if m.Format != format {
		return nil, fmt.Errorf("the running usher hands over in format %d, this version takes format %d: restart usher instead", m.Format, format)
	}
	for range m.Ports {
		m, err := h.expect(port)
		if err != nil {
			return ports, err
		}
		ln, err := m.listener()
		if err != nil {
			return ports, err
		}
		ports = append(ports, Port{m.Name, ln})
	}
	return ports, nil
}

// Ready tells the predecessor that this process accepts clients now.
func (h *Heritage) Ready() error { return h.send(message{Kind: ready}) }

// Adopt serves the sessions that the predecessor passes on until it has no more,
// or is gone, or Leave is called. stands is called when this process is the only
// one that has the sockets. adopt must not fail.
func (h *Heritage) Adopt(adopt func(Session), stands func()) error {
	for {
		m, err := h.receive()
		switch {
		case errors.Is(err, errOver), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		switch m.Kind {
		case alone:
			stands()
			continue
		case moving:
		default:
			m.drop()
			return fmt.Errorf("handover: %q where a session was expected", m.Kind)
		}
		s, err := m.session()
		if err != nil {
			return err
		}
		adopt(s)
		if err := h.send(message{Kind: adopted}); err != nil {
			return fmt.Errorf("handover: %w", err)
		}
	}
}

// Leave ends Adopt after the session that it has in hand. It may be called by
// any goroutine.
func (h *Heritage) Leave() { _ = h.nc.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the connection. Before Ready the predecessor goes on as if there
// had been no successor.
func (h *Heritage) Close() { _ = h.nc.Close() }
