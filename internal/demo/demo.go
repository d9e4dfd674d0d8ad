// Package demo is a mail server inside the process, for `usher demo` and for
// tests. It keeps its messages in memory and forgets them.
//
// IMAP is go-imap's own in-memory server. POP3 is ours and holds no messages:
// each of its sessions is a client of the IMAP server, so both protocols show
// the same INBOX, check the same passwords, and a DELE is an expunge for both.
// Both listen in the clear on 127.0.0.1, where usher is the only client.
package demo

import (
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// A Store is a mail server in this process: IMAP and POP3 over the same messages.
type Store struct {
	Name       string
	IMAP, POP3 net.Addr

	imap, pop3 *door
	accepting  sync.WaitGroup
}

// A User is somebody who has mail in a Store.
type User struct {
	Name, Password string
	Messages       []string // RFC 5322 texts in the INBOX, oldest first
}

// Start opens a store on two free ports.
func Start(name string, users []User) (*Store, error) {
	mail, err := fill(users)
	if err != nil {
		return nil, err
	}
	imapDoor, err := openDoor()
	if err != nil {
		return nil, err
	}
	pop3Door, err := openDoor()
	if err != nil {
		return nil, errors.Join(err, imapDoor.Close())
	}
	s := &Store{Name: name, IMAP: imapDoor.Addr(), POP3: pop3Door.Addr(), imap: imapDoor, pop3: pop3Door}
	s.accepting.Go(func() { serveIMAP(imapDoor, mail) })
	s.accepting.Go(func() { servePOP3(pop3Door, name, s.IMAP) })
	return s, nil
}

// Close ends the store and all sessions, and waits for them.
func (s *Store) Close() error {
	err := errors.Join(s.imap.Close(), s.pop3.Close())
	s.accepting.Wait() // from here on nobody new comes in
	s.pop3.empty()     // first: its sessions are IMAP clients
	s.imap.empty()
	return err
}

func fill(users []User) (*imapmemserver.Server, error) {
	mail := imapmemserver.New()
	for _, u := range users {
		m := imapmemserver.NewUser(u.Name, u.Password)
		for _, mailbox := range []string{"INBOX", "Drafts", "Sent", "Trash"} {
			if err := m.Create(mailbox, nil); err != nil {
				return nil, err
			}
		}
		for _, text := range u.Messages {
			if _, err := m.Append("INBOX", literal{strings.NewReader(text)}, new(imap.AppendOptions)); err != nil {
				return nil, err
			}
		}
		mail.AddUser(m)
	}
	return mail, nil
}

// A literal is a string as an imap.LiteralReader.
type literal struct{ *strings.Reader }
