package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"usher/internal/account"
	"usher/internal/config"
	"usher/internal/doorway"
	"usher/internal/listen"
	"usher/internal/login"
)

// Clients that other programs have accepted find what a [[listen]] block of their
// protocol says: the first of those that protect the connection as they want it, or, if
// there is none, the first of all, protected so.

// lobby makes these services. It is the last to look at the blocks: what is wrong with
// one has been said.
func (b *builder) lobby(h *house, base *tls.Config) {
	h.lobby = map[listen.Wanted]*listen.Service{}
	if len(b.mistakes) > 0 {
		return
	}
	for _, p := range protocols {
		name := p.Info().Name
		for _, mode := range []string{"none", "starttls", "implicit"} {
			if l, key, ok := b.fitting(name, mode); ok && (mode == "none" || base != nil) {
				h.lobby[listen.Wanted{Protocol: name, TLS: mode}] = b.services(h, base, key, l)()
			}
		}
		if usual, ok := h.lobby[listen.Wanted{Protocol: name, TLS: b.usual(name, base)}]; ok {
			h.lobby[listen.Wanted{Protocol: name}] = usual
		}
	}
}

// fitting is the block for clients of a protocol.
func (b *builder) fitting(protocol, mode string) (l config.Listen, key string, ok bool) {
	is := func(l config.Listen) bool { return l.Protocol == protocol && l.TLS == mode }
	i := slices.IndexFunc(b.cfg.Listen, is)
	if i < 0 {
		i = slices.IndexFunc(b.cfg.Listen, func(l config.Listen) bool { return l.Protocol == protocol })
	}
	if i < 0 {
		return l, "", false
	}
	l = b.cfg.Listen[i]
	l.TLS = mode
	return l, fmt.Sprintf("listen[%d]", i), true
}

// usual is how clients are protected that say nothing about it. TLS from the first byte
// has to be asked for: such clients have ports of their own.
func (b *builder) usual(protocol string, base *tls.Config) string {
	for _, l := range b.cfg.Listen {
		if l.Protocol == protocol && l.TLS != "implicit" {
			return l.TLS
		}
	}
	if base == nil {
		return "none"
	}
	return "starttls"
}

// openDoor lets clients in that other programs have accepted. Where it cannot be opened
// usher goes on without: these programs serve their clients themselves.
func (s *Server) openDoor() {
	s.lobby.Reopen()
	if s.admin == nil {
		return
	}
	d := &doorway.Door{Path: doorway.Path(s.admin.Path), Log: s.log, Welcome: s.welcome, Receive: s.receive}
	if err := d.Open(); err != nil {
		s.log.Warn("usher serve --inetd, --stdio and --postfix do not find this usher, and serve their clients themselves", "err", err)
		return
	}
	s.door = d
}

// closeDoor lets no more of them in. Those who are in stay.
func (s *Server) closeDoor() {
	if s.door != nil {
		s.door.Close()
		s.door = nil
	}
	s.lobby.Close()
}

// welcome tells whether there is what a client wants.
func (s *Server) welcome(r doorway.Request) error {
	found, open := s.lobby.Has(listen.Wanted{Protocol: r.Protocol, TLS: r.TLS})
	switch {
	case !open:
		return errors.New("it takes no more clients")
	case len(r.User) > account.MaxName:
		return fmt.Errorf("a name of %d bytes is nobody's", len(r.User))
	case !found:
		return noService(r.Protocol, r.TLS)
	}
	return nil
}

func noService(protocol, tls string) error {
	with := "write one"
	if tls != "" && tls != "none" {
		with = "write one, and set cert and key in [tls]"
	}
	return fmt.Errorf("there is no [[listen]] block of the protocol %.20q with tls = %.20q: %s", protocol, tls, with)
}

// receive begins a conversation with a client at the door.
func (s *Server) receive(v doorway.Visitor) {
	g := listen.Guest{Conn: v.Conn, Neighbour: true}
	if _, tcp := v.Conn.(*net.TCPConn); tcp && v.Given {
		g.Neighbour = false
	}
	if v.User != "" {
		g.Known = &login.Known{Name: v.User, By: userName(v.UID), UID: v.UID, All: v.Own}
	}
	if !s.lobby.Take(s.accepting, s.aborted, listen.Wanted{Protocol: v.Protocol, TLS: v.TLS}, g) {
		_ = v.Conn.Close()
	}
}

func userName(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	return fmt.Sprintf("uid %d", uid)
}
