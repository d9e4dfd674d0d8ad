package demo

import (
	"io"
	"log"
	"net"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// serveIMAP accepts until the door is closed.
func serveIMAP(d *door, mail *imapmemserver.Server) {
	server := imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return newSession(d, c.NetConn(), mail), nil, nil
		},
		Caps:         capabilities(),
		Logger:       log.New(io.Discard, "", 0), // it would tell of every client that just hangs up
		InsecureAuth: true,
	})
	_ = server.Serve(d) // it only fails because the door is closed
}

// capabilities are those that imapmemserver keeps. It accepts special uses but forgets
// them, and has no \HasChildren: so no SPECIAL-USE, no CHILDREN.
func capabilities() imap.CapSet {
	return imap.CapSet{
		imap.CapIMAP4rev1:    {},
		imap.CapIMAP4rev2:    {},
		imap.CapNamespace:    {},
		imap.CapUIDPlus:      {},
		imap.CapESearch:      {},
		imap.CapSearchRes:    {},
		imap.CapListExtended: {},
		imap.CapListStatus:   {},
		imap.CapMove:         {},
		imap.CapStatusSize:   {},
		imap.CapBinary:       {},
	}
}

// A session is imapmemserver's, whose end is the end of its connection: the
// server itself does not wait for its sessions.
type session struct {
	imapserver.SessionIMAP4rev2
	door *door
	conn net.Conn
}

func newSession(d *door, c net.Conn, mail *imapmemserver.Server) *session {
	return &session{mail.NewSession().(imapserver.SessionIMAP4rev2), d, c}
}

func (s *session) Close() error {
	defer s.door.leave(s.conn)
	return s.SessionIMAP4rev2.Close()
}
