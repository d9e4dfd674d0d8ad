package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
	"usher/internal/relay/record"
	"usher/internal/session"
)

// format is raised when a message changes its meaning: a process takes over from those of
// its own format and older ones. A new field needs no new format, unless a process that
// does not know it would do harm, such as to talk in clear to a side under TLS (format 2).
const format = 2

// A kind is what a message says.
type kind string

// The conversation: hello and its ports; ready; then moving and adopted, again
// and again, with alone between them once and now and then a kick, until one closes.
const (
	hello   kind = "hello"   // from old to new: Ports follow
	port    kind = "port"    // from old to new, with a listening socket
	ready   kind = "ready"   // from new to old: it accepts clients
	moving  kind = "moving"  // from old to new, with the client's and the backend's socket
	adopted kind = "adopted" // from new to old: the session is served
	kick    kind = "kick"    // from old to new: a session that has moved is to be ended
	alone   kind = "alone"   // from old to new: it has closed its sockets
)

type message struct {
	Kind     kind             `json:"kind"`
	Format   int              `json:"format,omitempty"`
	Ports    int              `json:"ports,omitempty"`
	Sessions int              `json:"sessions,omitempty"`
	Name     string           `json:"name,omitempty"`
	Session  *session.Session `json:"session,omitempty"`
	Idle     time.Duration    `json:"idle,omitempty"`
	Farewell string           `json:"farewell,omitempty"`
	Before   *relay.Stats     `json:"before,omitempty"`
	MidLine  bool             `json:"midline,omitempty"`
	Seal     *string          `json:"seal,omitempty"` // in a hello: of the helper that came with it
	Client   *leg             `json:"client,omitempty"`
	Server   *leg             `json:"server,omitempty"`

	sockets []int // descriptors that came with it
}

// leg is what is to be known of a side under TLS.
type leg struct {
	Keys  record.Keys `json:"keys"`
	Ahead []byte      `json:"ahead,omitempty"`
}

func legOf(l relay.Leg) *leg {
	if l.Keys == nil {
		return nil
	}
	return &leg{*l.Keys, l.Ahead}
}

// relayed is the side as an engine takes it.
func (l *leg) relayed(fd int) relay.Leg {
	out := relay.Leg{Conn: relay.FromDescriptor(fd)}
	if l != nil {
		out.Keys, out.Ahead = &l.Keys, l.Ahead
	}
	return out
}

// maxMessage is how long a message may be: names of accounts are bounded.
const maxMessage = 64 << 10

// errOver says that the other process has closed the connection.
var errOver = errors.New("the other process has closed the connection")

// conn is an end of the socket between two processes.
type conn struct{ nc *net.UnixConn }

func connOf(f *os.File) (*net.UnixConn, error) {
	defer func() { _ = f.Close() }()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("handover: descriptor %s is a %T, no unix socket: unset %s", f.Name(), nc, variable)
	}
	return uc, nil
}

func (c conn) send(m message) error { return c.sendWith(m) }

// sendWith sends a message and the descriptors of sockets, which stay open here.
func (c conn) sendWith(m message, socks ...any) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	defer clear(text) // there may be keys in it
	return withDescriptors(socks, nil, func(fds []int) error {
		var beside []byte
		if len(fds) > 0 {
			beside = unix.UnixRights(fds...)
		}
		_, _, err := c.nc.WriteMsgUnix(text, beside, nil)
		return err
	})
}

// withDescriptors calls do while the descriptors of the sockets are sure to stay
// what they are.
func withDescriptors(socks []any, fds []int, do func(fds []int) error) error {
	if len(socks) == 0 {
		return do(fds)
	}
	sc, ok := socks[0].(syscall.Conn)
	if !ok {
		return fmt.Errorf("handover: a %T has no descriptor", socks[0])
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) { err = withDescriptors(socks[1:], append(fds, int(fd)), do) })
	return errors.Join(ctlErr, err)
}

// receive returns the next message. Its sockets are the caller's.
func (c conn) receive() (message, error) {
	text, beside := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(2*4))
	n, nb, flags, _, err := c.nc.ReadMsgUnix(text, beside)
	for errors.Is(err, syscall.ECONNRESET) { // the other has ended with something unread: what it had said before is still to come
		n, nb, flags, _, err = c.nc.ReadMsgUnix(text, beside)
	}
	switch {
	case errors.Is(err, io.EOF), err == nil && n == 0:
		return message{}, errOver
	case err != nil:
		return message{}, fmt.Errorf("handover: %w", err)
	}
	defer clear(text[:n])
	m := message{sockets: relay.DescriptorsIn(beside[:nb])}
	switch err := json.Unmarshal(text[:n], &m); {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		m.drop()
		return message{}, errors.New("handover: a message was cut off: no descriptors left?")
	case err != nil:
		m.drop()
		return message{}, fmt.Errorf("handover: %w", err)
	}
	return m, nil
}

func (c conn) expect(k kind) (message, error) {
	m, err := c.receive()
	if err == nil && m.Kind != k {
		m.drop()
		err = fmt.Errorf("handover: %q where %q was expected", m.Kind, k)
	}
	return m, err
}

func (m message) drop() {
	for _, fd := range m.sockets {
		_ = unix.Close(fd)
	}
}

// need returns an error unless so many sockets came with the message.
func (m message) need(n int) error {
	if len(m.sockets) != n {
		return fmt.Errorf("handover: %d sockets came with %q, not %d", len(m.sockets), m.Kind, n)
	}
	return nil
}

func (m message) listener() (*net.TCPListener, error) {
	if err := m.need(1); err != nil {
		m.drop()
		return nil, err
	}
	f := os.NewFile(uintptr(m.sockets[0]), m.Name)
	defer func() { _ = f.Close() }()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("handover: socket %q: %w", m.Name, err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("handover: socket %q is a %T", m.Name, ln)
	}
	return tcp, nil
}

// helper is the one that came with a hello; nil: there is none.
func (m message) helper() (*Helper, error) {
	want := 0
	if m.Seal != nil {
		want = 1
	}
	if err := m.need(want); err != nil || want == 0 {
		m.drop()
		return nil, err
	}
	return &Helper{File: os.NewFile(uintptr(m.sockets[0]), "helper"), Seal: *m.Seal}, nil
}

func sessionMessage(s Session) message {
	p := s.Pair
	return message{Kind: moving, Session: &s.Session, Idle: p.Idle, Farewell: p.Farewell, Before: &p.Before, MidLine: p.MidLine, Client: legOf(p.Client), Server: legOf(p.Server)}
}

func (m message) session() (Session, error) {
	err := m.need(2)
	if err == nil && (m.Session == nil || m.Before == nil) {
		err = errors.New("handover: a session without its record")
	}
	if err != nil {
		m.drop()
		return Session{}, err
	}
	return Session{Session: *m.Session, Pair: relay.Pair{
		ID: uint64(m.Session.ID), Client: m.Client.relayed(m.sockets[0]), Server: m.Server.relayed(m.sockets[1]),
		Idle: m.Idle, Farewell: m.Farewell, Before: *m.Before, MidLine: m.MidLine,
	}}, nil
}
