package postfix

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors that master leaves open: master_proto.h.
const (
	flowRead, flowWrite = 3, 4 // tokens that slow mail down, which we do not send
	statusFD            = 5
	listenFD            = 6
)

// What a process says of itself: master_proto.h.
const (
	taken = 0
	avail = 1
)

// A Master is the process that has started us.
type Master struct {
	Ports []*net.TCPListener

	status     *os.File
	generation uint32
	mu         sync.Mutex
}

// Open takes what master has left open.
func Open(o Options) (*Master, error) {
	if o.Type != "inet" {
		return nil, fmt.Errorf("a service of type %.20q cannot be usher's: in master.cf it is inet, as in: imap inet n - n - - usher-postfix imap; "+
			"usher-postfix is for Postfix's master only", o.Type)
	}
	generation, err := strconv.ParseUint(os.Getenv("GENERATION"), 8, 32)
	if err != nil {
		return nil, errors.New("there is no GENERATION in the environment: usher-postfix is for Postfix's master only, which sets it")
	}
	m := &Master{generation: uint32(generation)}
	for _, fd := range []int{flowRead, flowWrite} {
		_ = unix.Close(fd)
	}
	unix.CloseOnExec(statusFD)
	m.status = os.NewFile(statusFD, "master's status pipe")
	if _, err := m.status.Stat(); err != nil {
		return nil, fmt.Errorf("descriptor %d should be the way to Postfix's master: %w", statusFD, err)
	}
	for fd := listenFD; fd < listenFD+o.Sockets; fd++ {
		ln, err := port(fd)
		if err != nil {
			return nil, fmt.Errorf("descriptor %d should be a port that Postfix's master has opened: %w", fd, err)
		}
		m.Ports = append(m.Ports, ln)
	}
	return m, nil
}

func port(fd int) (*net.TCPListener, error) {
	f := os.NewFile(uintptr(fd), "port")
	defer func() { _ = f.Close() }()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("it is a %T", ln)
	}
	return tcp, nil
}

// Taken says that we take no more clients: master listens itself, and starts another
// process for the next one.
func (m *Master) Taken() error { return m.notify(taken) }

// Available says that we wait for clients, as master believes of a process at first.
func (m *Master) Available() error { return m.notify(avail) }

// notify writes one message, a struct of three numbers in this machine's order. Messages
// of several processes do not mix in a pipe.
func (m *Master) notify(state uint32) error {
	b := binary.NativeEndian.AppendUint32(nil, uint32(os.Getpid()))
	b = binary.NativeEndian.AppendUint32(b, m.generation)
	b = binary.NativeEndian.AppendUint32(b, state)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.status.Write(b); err != nil {
		return fmt.Errorf("tell Postfix's master how we are: %w", err)
	}
	return nil
}

// Gone returns when master has closed its end: it has read its configuration anew, and
// wants a new generation of processes, or it is dead.
func (m *Master) Gone() {
	fd := int(m.status.Fd())
	for {
		p := []unix.PollFd{{Fd: int32(fd)}} // that nobody reads any more is always told
		if _, err := unix.Poll(p, -1); err == nil || !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// postconfTime bounds how long postconf may take.
const postconfTime = 10 * time.Second

// Postconf asks Postfix's own program, for the main.cf of the Postfix that has started us
// ($MAIL_CONFIG).
func Postconf(ctx context.Context) func(names ...string) ([]string, error) {
	return func(names ...string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, postconfTime)
		defer cancel()
		program := "postconf"
		if _, err := exec.LookPath(program); err != nil {
			program = "/usr/sbin/postconf"
		}
		c := exec.CommandContext(ctx, program, append([]string{"-xh"}, names...)...)
		out, err := c.Output()
		if err != nil {
			if e, ok := errors.AsType[*exec.ExitError](err); ok {
				err = fmt.Errorf("%w: %.200q", err, e.Stderr)
			}
			return nil, fmt.Errorf("ask postconf for main.cf: %w", err)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), nil
	}
}
