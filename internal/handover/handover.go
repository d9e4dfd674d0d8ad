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

// An Inventory is what a process has to pass on.
type Inventory struct {
	Ports    []Port
	Sessions int // so that the successor keeps room for them
	Helper   *Helper
}

// A Helper is the process that starts programs: it is the successor's, too.
type Helper struct {
	File *os.File
	Seal string // what it was made of
}

// Close closes its file.
func (h *Helper) Close() {
	if h != nil {
		_ = h.File.Close()
	}
}

// message says that the helper comes along, and what goes beside.
func (h *Helper) message(m message) (message, []any) {
	if h == nil {
		return m, nil
	}
	m.Seal = &h.Seal
	return m, []any{h.File}
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
func (s *Successor) Give(ctx context.Context, all Inventory, within time.Duration) error {
	defer context.AfterFunc(ctx, func() { _ = s.nc.Close() })()
	given := make(chan struct{})
	defer close(given)
	go s.closeIfItEnds(given)
	err := s.give(all, within)
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

// closeIfItEnds ends the wait for a successor that has ended, also if a child of
// its own still holds the connection.
func (s *Successor) closeIfItEnds(given chan struct{}) {
	select {
	case <-s.exited:
		_ = s.nc.Close()
	case <-given:
	}
}

func (s *Successor) give(all Inventory, within time.Duration) error {
	_ = s.nc.SetDeadline(time.Now().Add(within))
	defer func() { _ = s.nc.SetDeadline(time.Time{}) }()
	greeting, beside := all.Helper.message(message{Kind: hello, Format: format, Ports: len(all.Ports), Sessions: all.Sessions})
	if err := s.sendWith(greeting, beside...); err != nil {
		return err
	}
	for _, p := range all.Ports {
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
// all the same. What was sent is ours again only if the successor is gone, and has not
// answered before: two processes that go on with one session would seal different
// records with one key and number, which gives both away.
func (s *Successor) Move(m Session) (moved bool, err error) {
	_ = s.nc.SetDeadline(time.Now().Add(moveTime))
	defer func() { _ = s.nc.SetDeadline(time.Time{}) }()
	if err := s.sendWith(sessionMessage(m), m.Pair.Client.Conn, m.Pair.Server.Conn); err != nil {
		return false, fmt.Errorf("move session %s: %w", m.ID, err)
	}
	if _, err := s.expect(adopted); err != nil {
		return !errors.Is(err, errOver), fmt.Errorf("move session %s: %w", m.ID, err)
	}
	return true, nil
}

// Kick has the successor end a session that was passed on.
func (s *Successor) Kick(id session.ID) error {
	return s.send(message{Kind: kick, Session: &session.Session{ID: id}})
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

// Take returns what the predecessor has to pass on: its sockets, and how many
// sessions will come. Sockets that are not needed must be closed.
func (h *Heritage) Take() (all Inventory, err error) {
	defer func() {
		if err != nil {
			for _, p := range all.Ports {
				_ = p.Listener.Close()
			}
			all.Helper.Close()
			all = Inventory{}
		}
	}()
	m, err := h.expect(hello)
	if err != nil {
		return all, err
	}
	if all.Helper, err = m.helper(); err != nil {
		return all, err
	}
	if m.Format < 1 || m.Format > format {
		return all, fmt.Errorf("the running usher hands over in format %d, this version takes formats up to %d: restart usher instead", m.Format, format)
	}
	all.Sessions = m.Sessions
	for range m.Ports {
		m, err := h.expect(port)
		if err != nil {
			return all, err
		}
		ln, err := m.listener()
		if err != nil {
			return all, err
		}
		all.Ports = append(all.Ports, Port{m.Name, ln})
	}
	return all, nil
}

// Ready tells the predecessor that this process accepts clients now.
func (h *Heritage) Ready() error { return h.send(message{Kind: ready}) }

// An Adoption is what is to be done with what a predecessor passes on.
type Adoption struct {
	Session func(Session)    // serve it; it must not fail
	Kick    func(session.ID) // an administrator has asked for it while the session was on its way
	Stands  func()           // this process is the only one that has the sockets
}

// Adopt takes sessions until the predecessor has no more, or is gone, or Leave is
// called.
func (h *Heritage) Adopt(a Adoption) error {
	for {
		m, err := h.receive()
		switch {
		case errors.Is(err, errOver), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		switch {
		case m.Kind == alone:
			a.Stands()
		case m.Kind == kick && m.Session != nil:
			a.Kick(m.Session.ID)
		case m.Kind == moving:
			err = h.adoptOne(m, a.Session)
		default:
			m.drop()
			err = fmt.Errorf("handover: %q where a session was expected", m.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// adoptOne answers first: a session of which a byte has been moved here must not
// be started again by the predecessor if this process dies.
func (h *Heritage) adoptOne(m message, serve func(Session)) error {
	s, err := m.session()
	if err != nil {
		return err
	}
	err = h.send(message{Kind: adopted})
	serve(s) // also if the predecessor is gone
	return err
}

// Leave ends Adopt after the session that it has in hand. It may be called by
// any goroutine.
func (h *Heritage) Leave() { _ = h.nc.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the connection. Before Ready the predecessor goes on as if there
// had been no successor.
func (h *Heritage) Close() { _ = h.nc.Close() }
