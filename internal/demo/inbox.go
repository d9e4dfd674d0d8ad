package demo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

var (
	errRefused = errors.New("wrong name or password")
	errNone    = errors.New("no such message")
)

// An inbox is a maildrop as POP3 wants it: the messages that were there at
// login, under numbers that do not change. It is an IMAP session.
type inbox struct {
	client   *imapclient.Client
	validity uint32 // UIDVALIDITY
	messages []message
}

type message struct {
	number  int
	uid     imap.UID
	size    int64
	deleted bool
}

// openInbox logs in. It returns errRefused if name and password are wrong.
func openInbox(addr net.Addr, name, password string) (*inbox, error) {
	client, err := imapclient.DialInsecure(addr.String(), nil)
	if err != nil {
		return nil, err
	}
	i := &inbox{client: client}
	if err := i.enter(name, password); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

func (i *inbox) enter(name, password string) error {
	var no *imap.Error
	if err := i.client.Login(name, password).Wait(); errors.As(err, &no) {
		return errRefused
	} else if err != nil {
		return err
	}
	selected, err := i.client.Select("INBOX", nil).Wait()
	if err != nil {
		return err
	}
	i.validity = selected.UIDValidity
	if selected.NumMessages == 0 {
		return nil // 1:0 would be no range
	}
	all := imap.SeqSet{}
	all.AddRange(1, selected.NumMessages)
	found, err := i.client.Fetch(all, &imap.FetchOptions{UID: true, RFC822Size: true}).Collect()
	for n, f := range found {
		i.messages = append(i.messages, message{number: n + 1, uid: f.UID, size: f.RFC822Size})
	}
	return err
}

// text returns a message as it is. POP3 knows no \Seen, so it is not set.
func (i *inbox) text(m *message) ([]byte, error) {
	whole := &imap.FetchItemBodySection{Peek: true}
	found, err := i.client.Fetch(imap.UIDSetNum(m.uid), &imap.FetchOptions{
		BodySection: []*imap.FetchItemBodySection{whole},
	}).Collect()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errNone // an IMAP session has expunged it meanwhile
	}
	return found[0].FindBodySection(whole), nil
}

// find returns the message with a number that is not marked as deleted.
func (i *inbox) find(number string) (*message, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(i.messages) || i.messages[n-1].deleted {
		return nil, errNone
	}
	return &i.messages[n-1], nil
}

// left returns the messages that are not marked as deleted.
func (i *inbox) left() (some []*message) {
	for n := range i.messages {
		if !i.messages[n].deleted {
			some = append(some, &i.messages[n])
		}
	}
	return some
}

// expunge removes what is marked as deleted, and nothing that others have marked.
func (i *inbox) expunge() error {
	var marked imap.UIDSet
	for _, m := range i.messages {
		if m.deleted {
			marked.AddNum(m.uid)
		}
	}
	if len(marked) == 0 {
		return nil
	}
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := i.client.Store(marked, flags, nil).Close(); err != nil {
		return err
	}
	return i.client.UIDExpunge(marked).Close()
}

func (i *inbox) uidl(m *message) string { return fmt.Sprintf("%d.%d", i.validity, m.uid) }

func (i *inbox) close() { _ = i.client.Close() } // waits for its reader

// top returns the header of a message and the first n lines of its body.
func top(text []byte, n int) []byte {
	end := bytes.Index(text, []byte("\r\n\r\n"))
	if end < 0 {
		return text
	}
	end += len("\r\n\r\n")
	for ; n > 0 && end < len(text); n-- {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			return text
		}
		end += next + 1
	}
	return text[:end]
}
