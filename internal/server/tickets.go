package server

import (
	"os"
	"path/filepath"
	"time"

	"usher/internal/tickets"
)

// ticketFile holds the keys of TLS session tickets, in the state folder: clients
// that come back after a restart need no full handshake.
const ticketFile = "tickets"

// keepTickets seals the tickets of a house with keys that outlive the process.
// Where they cannot be kept, they live as long as it does.
func (s *Server) keepTickets(h *house) {
	if len(h.tls) == 0 {
		return
	}
	if s.tickets == nil {
		s.openTickets(string(h.cfg.Server.State))
	}
	keys, err := s.tickets.Current()
	if err != nil {
		s.log.Warn("TLS session tickets", "err", err)
	}
	h.seal(keys)
}

// openTickets reads the keys, and has whatever house there is follow their changes.
func (s *Server) openTickets(dir string) {
	_ = os.MkdirAll(dir, 0o700) // what is wrong with it, Open says
	keys, err := tickets.Open(filepath.Join(dir, ticketFile), time.Now)
	if err != nil {
		s.log.Warn("TLS session tickets", "err", err)
	}
	s.tickets = keys
	s.listening.Go(func() { keys.Run(s.accepting, func(all [][32]byte) { s.house.Load().seal(all) }, s.log) })
}

// seal has tickets sealed with these keys, the newest first.
func (h *house) seal(keys [][32]byte) {
	for _, c := range h.tls {
		c.SetSessionTicketKeys(keys)
	}
}

// borrowTickets seals the tickets of a house with the keys that all processes share,
// without watching over them. Where they cannot be had, its own live as long as it does.
func (h *house) borrowTickets() {
	if len(h.tls) == 0 {
		return
	}
	keys, _ := tickets.Open(filepath.Join(string(h.cfg.Server.State), ticketFile), time.Now)
	if all, err := keys.Current(); err == nil {
		h.seal(all)
	}
}
