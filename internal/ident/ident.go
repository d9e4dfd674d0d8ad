// Package ident answers servers that understand no other way of being told who
// stands behind a connection from usher, and ask (RFC 1413): the account, and the
// address of its client. It is a protocol whose clients are those servers.
package ident

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"usher/internal/login"
	"usher/internal/wire"
)

// Protocol is ident.
type Protocol struct{}

// Info implements login.Protocol.
func (Protocol) Info() login.Info {
	return login.Info{Name: "ident", Port: 113, Full: "0 , 0 : ERROR : UNKNOWN-ERROR"} // RFC 1413 §6
}

// Enter implements login.Protocol. Nobody logs in by ident.
func (Protocol) Enter(context.Context, *wire.Conn, login.Ticket) (login.Welcome, error) {
	return login.Welcome{}, errors.New("nobody logs in by ident")
}

// Serve implements login.Protocol: one answer for each line, until the server has
// heard enough.
func (Protocol) Serve(_ context.Context, c *login.Client, d *login.Desk) error {
	for {
		line, err := c.Conn.ReadLine()
		if err != nil {
			return err
		}
		_ = c.Conn.WriteLine(answer(line, c, d))
	}
}

// answer is RFC 1413 §4. The server names the ports at both ends of a connection;
// the addresses are those of the connection on which it asks: so it hears of its
// own only.
func answer(line string, c *login.Client, d *login.Desk) string {
	ours, theirs, _ := strings.Cut(line, ",")
	near, nearErr := port(ours)
	far, farErr := port(theirs)
	if errors.Join(nearErr, farErr) != nil {
		return "0 , 0 : ERROR : INVALID-PORT"
	}
	pair := fmt.Sprintf("%d , %d", near, far)
	for _, s := range d.Sessions.Behind(netip.AddrPortFrom(c.Local.Addr(), near)) {
		if s.Far == netip.AddrPortFrom(c.Remote.Addr(), far) {
			return pair + " : USERID : OTHER : " + name(s.Account, s.Remote)
		}
	}
	return pair + " : ERROR : NO-USER"
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err == nil && n == 0 {
		err = errors.New("no port")
	}
	return uint16(n), err
}

// maxName is how long an answer's name may be: RFC 1413 §6.
const maxName = 512

// name is the account and the client's address behind a slash. There is none in
// what follows the last one.
func name(account string, remote netip.AddrPort) string {
	account = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, account)
	from := "/" + remote.String()
	return account[:min(len(account), maxName-len(from))] + from
}
