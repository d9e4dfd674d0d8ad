package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	"usher/internal/handover"
	"usher/internal/listen"
)

// fromSystemd begins the addr of a listener whose socket systemd opens: the rest
// is its FileDescriptorName.
const fromSystemd = "systemd:"

// ports are the sockets that we listen on. A name stands for one, or for all
// that systemd gave that name.
type ports struct {
	mu     sync.RWMutex
	byName listeners
}

// listeners are by the name of their port.
type listeners map[string][]*listen.Listener

func (p *ports) has(name string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.byName[name]) > 0
}

func (p *ports) add(opened listeners) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName == nil {
		p.byName = listeners{}
	}
	for name, list := range opened {
		p.byName[name] = list
	}
}

// keep closes what is not named.
func (p *ports) keep(services []service) (closed []*listen.Listener) {
	named := map[string]bool{}
	for _, s := range services {
		named[s.port] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, list := range p.byName {
		if !named[name] {
			delete(p.byName, name)
			closed = append(closed, list...)
		}
	}
	for _, l := range closed {
		l.Close()
	}
	return closed
}

// of returns the listeners of a service.
func (p *ports) of(s service) []*listen.Listener {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byName[s.port]
}

func (p *ports) each(do func(name string, l *listen.Listener)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, list := range p.byName {
		for _, l := range list {
			do(name, l)
		}
	}
}

func (p *ports) suspend() { p.each(func(_ string, l *listen.Listener) { l.Suspend() }) }
func (p *ports) resume()  { p.each(func(_ string, l *listen.Listener) { l.Resume() }) }
func (p *ports) close()   { p.keep(nil) }

// give returns them for another process.
func (p *ports) give() (list []handover.Port) {
	p.each(func(name string, l *listen.Listener) {
		switch ln := l.Net.(type) {
		case *net.TCPListener:
			list = append(list, handover.Port{Name: name, Listener: ln})
		case listen.Inherited:
			list = append(list, handover.Port{Name: name, Listener: ln.TCPListener})
		}
	})
	return list
}

// listen opens the ports of a house that are not open yet: all, or none.
func (s *Server) listen(ctx context.Context, h *house) (listeners, error) {
	opened := listeners{}
	for _, v := range h.services {
		if s.ports.has(v.port) {
			continue
		}
		list, err := s.sockets.open(ctx, v)
		if err != nil {
			s.unlisten(opened)
			return nil, s.ourselves(err, v.addr)
		}
		for _, ln := range list {
			opened[v.port] = append(opened[v.port], &listen.Listener{Net: ln, Log: s.log})
		}
	}
	return opened, nil
}

// unlisten closes ports that nobody serves. Those that others have opened for us
// could not be opened again.
func (s *Server) unlisten(opened listeners) {
	for name, list := range opened {
		for _, l := range list {
			if given, ok := l.Net.(listen.Inherited); ok {
				s.sockets = append(s.sockets, handover.Port{Name: name, Listener: given.TCPListener})
			} else {
				l.Close()
			}
		}
	}
}

// ourselves tells an administrator that it is usher who has the port.
func (s *Server) ourselves(err error, addr string) error {
	want, bad := net.ResolveTCPAddr("tcp", addr)
	if bad != nil || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	s.ports.each(func(name string, l *listen.Listener) {
		if at, ok := l.Net.Addr().(*net.TCPAddr); ok && at.Port == want.Port {
			err = fmt.Errorf("cannot listen on %s: this usher listens there already, as %s: restart it to change an address but not its port", addr, name)
		}
	})
	return err
}

// sockets are those that others have opened for us and nobody has taken yet.
type sockets []handover.Port

// open returns the sockets of a service: inherited, or else our own.
func (s *sockets) open(ctx context.Context, v service) ([]net.Listener, error) {
	if list := s.take(func(p handover.Port) bool { return p.Name == v.port }); len(list) > 0 {
		return list, nil
	}
	if list := s.take(func(p handover.Port) bool { return isAt(p.Listener, v.addr) }); len(list) > 0 {
		return list, nil
	}
	if name, ok := strings.CutPrefix(v.addr, fromSystemd); ok {
		return nil, fmt.Errorf("cannot listen on %s: systemd has opened no socket of that name: set FileDescriptorName=%s in a .socket unit and start that unit", v.addr, name)
	}
	ln, err := listen.Own(ctx, v.addr)
	return []net.Listener{ln}, err
}

func (s *sockets) take(fits func(handover.Port) bool) (list []net.Listener) {
	var rest sockets
	for _, p := range *s {
		if fits(p) {
			list = append(list, listen.Inherit(p.Listener))
		} else {
			rest = append(rest, p)
		}
	}
	*s = rest
	return list
}

func (s *sockets) close() {
	for _, p := range *s {
		_ = p.Listener.Close()
	}
	*s = nil
}

// isAt tells whether a socket listens on an address as the configuration writes
// it.
func isAt(ln *net.TCPListener, addr string) bool {
	want, err := net.ResolveTCPAddr("tcp", addr)
	at := ln.Addr().(*net.TCPAddr)
	if err != nil || want.Port == 0 || want.Port != at.Port {
		return false
	}
	return want.IP.Equal(at.IP) || want.IP == nil && at.IP.IsUnspecified()
}
